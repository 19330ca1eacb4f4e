import { chownSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import type { Command } from '../../src/executor/executor.ts';
import type { HostExecutor, HostExecutorOptions } from '../../src/executor/host-executor.ts';
import { startHostExecutor } from './host-executor.ts';
import { never } from './never.ts';
import { tempDir } from './temp-dir.ts';

/** An executor and a folder to run commands in; outputs are those of the last one. */
export interface ExecutorBench {
  readonly executor: HostExecutor;
  readonly folder: string;
  readonly inputRoot: string;
  readonly run: (
    argv: readonly [string, ...string[]],
    changes?: Partial<Command>,
    signal?: AbortSignal,
  ) => ReturnType<HostExecutor['run']>;
  readonly stdout: () => string;
  readonly stderr: () => string;
}

export async function executorBench(
  t: Pick<TestContext, 'after'>,
  options: Partial<HostExecutorOptions> = {},
): Promise<ExecutorBench> {
  const folder = tempDir(t);
  const inputRoot = path.join(folder, 'root');
  mkdirSync(inputRoot);
  if (options.owner) chownSync(inputRoot, options.owner.uid, options.owner.gid);
  const executor = await startHostExecutor(t, options);
  let runs = 0;
  const output = (name: string) => path.join(folder, `${name}.${runs}`);
  return {
    executor,
    folder,
    inputRoot,
    run: (argv, changes = {}, signal = never) => {
      runs++;
      const command: Command = {
        argv,
        environment: {},
        workingDirectory: inputRoot,
        temporary: '/its/own',
        folder,
        stdoutPath: output('stdout'),
        stderrPath: output('stderr'),
        timeoutMs: 30_000,
        network: false,
        memoryBytesMax: undefined,
        ...changes,
      };
      return executor.run(command, inputRoot, signal);
    },
    stdout: () => readFileSync(output('stdout'), 'utf8'),
    stderr: () => readFileSync(output('stderr'), 'utf8'),
  };
}

/** Waits until a file holds a line; the processes under test have no other way to speak. */
export async function lineOf(file: string): Promise<string> {
  for (;;) {
    if (existsSync(file) && readFileSync(file, 'utf8').endsWith('\n')) {
      return readFileSync(file, 'utf8').trim();
    }
    await wait(5);
  }
}

/** Zombies are not. */
export function isAlive(id: string): boolean {
  try {
    return !/^\S+ \(.*\) [ZX]/.test(readFileSync(`/proc/${id}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

/** Waits for the end of a process that is not a child. */
export async function untilDead(id: string): Promise<void> {
  while (isAlive(id)) await wait(5);
}
