import { execFileSync } from 'node:child_process';
import { open } from 'node:fs/promises';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { tempDir } from './temp-dir.ts';

/** Something that a command of a shell waits for until the test lets it go on. */
export interface Gate {
  /** What the command runs to wait. */
  readonly wait: string;
  /** Resolves when the command has passed. */
  readonly open: () => Promise<void>;
}

export function gate(t: Pick<TestContext, 'after'>): Gate {
  const fifo = path.join(tempDir(t), 'gate');
  execFileSync('mkfifo', ['-m', '666', fifo]);
  return {
    wait: `cat ${fifo} >/dev/null`,
    // It opens once the command has it open too.
    open: async () => (await open(fifo, 'w')).close(),
  };
}
