import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** The project's folder; scripts may be started from anywhere. */
export const projectRoot = path.join(import.meta.dirname, '..');
export const expbuild = path.join(projectRoot, 'dist', 'expbuild');

/** A folder of the script's own. Actions pass through it, which are other users where a worker is root. */
export function scratchFolder(purpose: string): string {
  const folder = mkdtempSync(path.join(tmpdir(), `expbuild-${purpose}-`));
  chmodSync(folder, 0o711);
  return folder;
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  if (address === null || typeof address === 'string') throw new Error('no port to be had');
  return address.port;
}

export interface Finished {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly seconds: number;
}

/** Runs a program to its end, keeping what it prints. */
export async function run(
  argv: readonly string[],
  options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv; readonly timeoutMs?: number },
): Promise<Finished> {
  const startedAt = process.hrtime.bigint();
  const child = spawn(argv[0] ?? '', argv.slice(1), {
    cwd: options.cwd ?? projectRoot,
    env: options.env ?? process.env,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: options.timeoutMs ?? 300_000,
  });
  const text = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (part: string) => (text.stdout += part));
  child.stderr.setEncoding('utf8').on('data', (part: string) => (text.stderr += part));
  const [exitCode] = (await once(child, 'close')) as [number | null];
  return { exitCode, ...text, seconds: Number(process.hrtime.bigint() - startedAt) / 1e9 };
}

/** Starts a role of ExpBuild and waits until it prints `ready`; its output goes to `print`. */
export async function startRole(
  argv: readonly string[],
  ready: RegExp,
  print: (text: string) => void,
): Promise<ChildProcess> {
  const child = spawn(argv[0] ?? '', argv.slice(1), {
    cwd: projectRoot,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let seen = '';
  await new Promise<void>((resolve, reject) => {
    const onText = (text: string) => {
      print(text);
      seen += text;
      if (ready.test(seen)) resolve();
    };
    child.stdout.setEncoding('utf8').on('data', onText);
    child.stderr.setEncoding('utf8').on('data', onText);
    child.once('exit', (code) =>
      reject(new Error(`${argv.join(' ')} ended with ${code}:\n${seen}`)),
    );
    setTimeout(() => reject(new Error(`${argv.join(' ')} is not ready:\n${seen}`)), 30_000).unref();
  });
  return child;
}

/** Asks a role to stop and waits until it has. */
export async function stopRole(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  await once(child, 'exit');
}
