import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { tempDir } from './temp-dir.ts';

/** What `npm run build` makes. */
export const executable = path.resolve('dist/expbuild');

/** Starting takes a second; a busy machine is given more. */
const START_TIMEOUT_MS = 60_000;

/** Why tests of the built executable cannot run now, or false if they can; for a test's `skip`. */
export function executableSkip(): string | false {
  return existsSync(executable) ? false : 'dist/expbuild is not there: npm run build makes it';
}

/** A role of the built executable, as a process of its own. */
export interface RunningRole {
  readonly pid: number;
  /** What `ready` found, or the text it matched. */
  readonly found: string;
  /** All that it printed so far. */
  readonly output: () => string;
  /** Resolves once it has printed `pattern`; fails when it ends before. */
  readonly printed: (pattern: RegExp) => Promise<void>;
  /** Ends it at once, as a crash would. */
  readonly kill: () => Promise<void>;
  readonly signal: (signal: NodeJS.Signals) => void;
  /** Resolves with its exit code; null when a signal ended it. */
  readonly exited: Promise<number | null>;
}

/** Starts a role and waits until it prints `ready`; it ends with the test. */
export async function startRole(
  t: Pick<TestContext, 'after'>,
  args: readonly string[],
  ready: RegExp,
  variables: Readonly<Record<string, string>> = {},
  program: readonly string[] = [executable],
): Promise<RunningRole> {
  const home = tempDir(t);
  const [file = executable, ...before] = program;
  const child = spawn(file, [...before, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: '/usr/bin:/bin', HOME: home, ...variables },
    cwd: home,
  });
  const exited = once(child, 'exit');
  const end = async (signal: NodeJS.Signals) => {
    child.kill(signal);
    await exited;
  };
  // Also when it does not start as it should.
  t.after(() => {
    // One that was stopped would not end.
    child.kill('SIGCONT');
    return end('SIGTERM');
  });
  let output = '';
  const found = await new Promise<string>((resolve, reject) => {
    const onText = (text: string) => {
      output += text;
      const match = ready.exec(output);
      if (match) resolve(match[1] ?? match[0]);
    };
    child.stdout.setEncoding('utf8').on('data', onText);
    child.stderr.setEncoding('utf8').on('data', onText);
    child.once('exit', (code) =>
      reject(new Error(`expbuild ${args.join(' ')} ended with ${code}:\n${output}`)),
    );
    AbortSignal.timeout(START_TIMEOUT_MS).addEventListener('abort', () =>
      reject(new Error(`expbuild ${args.join(' ')} does not print ${ready}:\n${output}`)),
    );
  });
  const printed = (pattern: RegExp) =>
    new Promise<void>((resolve, reject) => {
      const look = () => {
        if (pattern.test(output)) resolve();
      };
      child.stdout.on('data', look);
      child.stderr.on('data', look);
      child.once('exit', () => reject(new Error(`ended without ${pattern}:\n${output}`)));
      look();
    });
  return {
    pid: child.pid ?? 0,
    found,
    output: () => output,
    printed,
    kill: () => end('SIGKILL'),
    signal: (signal) => void child.kill(signal),
    exited: exited.then(([code]) => code as number | null),
  };
}

export interface RunningServer {
  readonly port: number;
  /** All that the server printed so far. */
  readonly output: () => string;
}

/** `expbuild up FLAGS...` on a free port, with all its data in a temporary folder; ends with the test. */
export async function startUp(
  t: Pick<TestContext, 'after'>,
  ...flags: readonly string[]
): Promise<RunningServer> {
  const data = path.join(tempDir(t), 'data');
  const args = ['up', '--address', '127.0.0.1:0', '--data', data, ...flags];
  const { found, output } = await startRole(t, args, /grpc:\/\/127\.0\.0\.1:(\d+)/);
  return { port: Number(found), output };
}
