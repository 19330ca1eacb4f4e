import type { Dirent } from 'node:fs';
import { opendir } from 'node:fs/promises';

/** Few calls, and no folder has too many entries for the memory. */
const entriesAtOnce = 1_000;

/**
 * The entries of a folder, up to a thousand at a time, in no order; names are bytes, so that none passes
 * for another. Entries may be removed while they come.
 */
export async function* folderEntries(folder: string | Buffer): AsyncGenerator<Dirent<Buffer>[]> {
  let entries: Dirent<Buffer>[] = [];
  const options = { encoding: 'buffer', bufferSize: entriesAtOnce } as const;
  // Node's types say that names are text, whatever is asked for.
  for await (const entry of await opendir(folder, options as object)) {
    entries.push(entry as unknown as Dirent<Buffer>);
    if (entries.length < entriesAtOnce) continue;
    yield entries;
    entries = [];
  }
  yield entries;
}
