import { spawnSync } from 'node:child_process';
import path from 'node:path';
import type { TestContext } from 'node:test';
import type { Owner } from '../../src/executor/executor.ts';
import { Sandbox, type SandboxOptions } from '../../src/executor/sandbox.ts';
import { tempDir } from './temp-dir.ts';

/** Why tests of the sandbox cannot run here; false when they can. */
export const sandboxSkip: string | false =
  spawnSync('bwrap', ['--unshare-all', '--ro-bind', '/', '/', 'true']).status === 0
    ? false
    : 'needs bubblewrap that works: apt install bubblewrap';

/** Whom commands of these tests run as. */
export const sandboxOwner: Owner | undefined =
  process.getuid?.() === 0 ? { uid: 59_001, gid: 59_001 } : undefined;

export function findSandbox(
  t: Pick<TestContext, 'after'>,
  options: Partial<SandboxOptions> = {},
): Promise<Sandbox> {
  return Sandbox.find({
    searchPath: '/usr/local/bin:/usr/bin:/bin',
    folder: path.join(tempDir(t), 'sandbox'),
    readonlyPaths: [],
    tmpBytesMax: 10_000_000,
    processesMax: undefined,
    networkAllowed: false,
    resolvConf: undefined,
    ...options,
  });
}
