import { existsSync, readFileSync, watch as watchNow } from 'node:fs';
import { watch } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

/** What a test waits for takes seconds at most; if it never comes, this must not hold up all tests. */
const TIMEOUT_MS = 60_000;
const LOOK_EVERY_MS = 50;

/** Resolves when `isSo`, which is asked at each change in the folder. Fails after a minute. */
export async function comesTrue(folder: string, isSo: () => boolean): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const watcher = watchNow(folder, () => {
    if (isSo()) resolve();
  });
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  signal.addEventListener('abort', () => reject(signal.reason as Error));
  if (isSo()) resolve();
  await promise.finally(() => watcher.close());
}

/** Resolves when a file of that name is put into the folder from now on. Fails after a minute. */
export async function appears(folder: string, name: string): Promise<void> {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  for await (const { filename } of watch(folder, { signal })) {
    if (filename === name) return;
  }
}

/** Resolves when the file of that name holds a line: a shell makes a file before it writes to it. Fails after a minute. */
export async function holdsLine(folder: string, name: string): Promise<void> {
  const file = path.join(folder, name);
  await comesTrue(folder, () => existsSync(file) && readFileSync(file, 'utf8').endsWith('\n'));
}

/** What `look` gives once that `isSo`; for what tells nobody when it changes. Fails after a minute. */
export async function becomes<T>(
  look: () => T | Promise<T>,
  isSo: (seen: T) => boolean,
): Promise<T> {
  const late = AbortSignal.timeout(TIMEOUT_MS);
  for (;;) {
    const seen = await look();
    if (isSo(seen)) return seen;
    if (late.aborted) throw new Error(`still ${JSON.stringify(seen)} after ${TIMEOUT_MS} ms`);
    await wait(LOOK_EVERY_MS);
  }
}
