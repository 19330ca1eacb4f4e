import { constants, type Dirent } from 'node:fs';
import { type FileHandle, open, readlink } from 'node:fs/promises';
import { folderEntries } from '../base/folder-entries.ts';
import { Code, StatusError } from '../base/status.ts';

/** How a path is opened: in place, it must be what its own name says, with no link on the way. */
export type Opening = 'anywhere' | 'in-place';

/** A file that was opened, and the size that it had then. */
interface OpenedFile {
  readonly file: FileHandle;
  readonly sizeBytes: number;
}

/**
 * Opens a regular file for reading; never a link, and never a FIFO that would wait for its writer. In
 * place, it fails with INVALID_ARGUMENT when a folder above became a link since `path`, a real path, was
 * found: what an action made is opened so alone (WK-10).
 */
export async function openRegularFile(path: string, opening: Opening): Promise<OpenedFile> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  let sizeBytes = 0;
  const file = await checked(await open(path, flags), async (opened) => {
    const stats = await opened.stat();
    if (!stats.isFile()) {
      throw new StatusError(Code.INVALID_ARGUMENT, `${path} is not a regular file`);
    }
    if (opening === 'in-place') await checkPlace(opened, path);
    sizeBytes = stats.size;
  });
  return { file, sizeBytes };
}

/**
 * What is in a folder, a batch at a time, with a path by which it can be looked at while the batch is used.
 * In place as in `openRegularFile`.
 */
export async function* entriesIn(
  folder: string,
  opening: Opening,
): AsyncGenerator<{ readonly via: string; readonly entries: readonly Dirent<Buffer>[] }, void> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_DIRECTORY;
  if (opening === 'anywhere') {
    for await (const entries of folderEntries(folder)) yield { via: folder, entries };
    return;
  }
  const handle = await checked(await open(folder, flags), (opened) => checkPlace(opened, folder));
  try {
    const via = `/proc/self/fd/${handle.fd}`;
    for await (const entries of folderEntries(via)) yield { via, entries };
  } finally {
    await handle.close();
  }
}

async function checked(
  handle: FileHandle,
  check: (handle: FileHandle) => Promise<void>,
): Promise<FileHandle> {
  try {
    await check(handle);
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function checkPlace(handle: FileHandle, path: string): Promise<void> {
  if ((await readlink(`/proc/self/fd/${handle.fd}`)) === path) return;
  throw new StatusError(
    Code.INVALID_ARGUMENT,
    `${path} was moved, or a folder above it replaced by a link, while it was read`,
  );
}
