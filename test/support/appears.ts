import { watch } from 'node:fs/promises';

/** Resolves when a file of that name is put into the folder from now on. */
export async function appears(folder: string, name: string): Promise<void> {
  for await (const { filename } of watch(folder)) {
    if (filename === name) return;
  }
}
