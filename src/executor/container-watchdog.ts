import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { DockerEngine } from './docker-engine.ts';

/** While a command that was being created meanwhile may still come. */
const looks = 3;

/**
 * Starts a process that outlives this one: when this process is gone, even by SIGKILL, it removes the
 * containers with a label. `command` is the program and arguments that call `runContainerWatchdog`.
 * Call what it returns to end it.
 */
export function startContainerWatchdog(
  [file, ...args]: readonly [string, ...string[]],
  socket: string,
  label: string,
): () => Promise<void> {
  const child = spawn(file, [...args, socket, label], {
    env: {},
    stdio: ['pipe', 'ignore', 'inherit'],
    // Its own session: whoever stops the worker and all its processes leaves it to finish.
    detached: true,
  });
  const exited = once(child, 'exit').catch(() => {});
  child.stdin.on('error', () => {});
  return async () => {
    child.stdin.end();
    await exited;
  };
}

/** The body of the watchdog: waits for standard input to end. */
export async function runContainerWatchdog(socket: string, label: string): Promise<void> {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => {});
  process.stdin.resume();
  await once(process.stdin, 'close');
  const engine = new DockerEngine(socket);
  for (let look = 0; look < looks; look++) {
    const left = await engine.labelled(label);
    if (left.length === 0) return;
    await Promise.allSettled(left.map(({ id }) => engine.remove(id)));
  }
}
