import { watch } from 'node:fs/promises';

/** What a test waits for takes seconds at most; if it never comes, this must not hold up all tests. */
const TIMEOUT_MS = 60_000;

/** Resolves when a file of that name is put into the folder from now on. Fails after a minute. */
export async function appears(folder: string, name: string): Promise<void> {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  for await (const { filename } of watch(folder, { signal })) {
    if (filename === name) return;
  }
}
