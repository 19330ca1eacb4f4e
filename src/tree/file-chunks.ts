import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { type Chunks, type SeekableChunks, seekable } from '../base/chunks.ts';
import { Code, StatusError } from '../base/status.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import { Digest } from '../digest/digest.ts';

/** Few calls per file, and little memory when many files are read at once. */
const chunkBytes = 256 * 1024;

/**
 * Opens a regular file for reading; never a link, and never a FIFO that would wait for its writer.
 * What an action made is opened by this alone.
 */
async function openRegularFile(path: string): Promise<FileHandle> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const file = await open(path, flags);
  try {
    const stats = await file.stat();
    if (stats.isFile()) return file;
    throw new StatusError(Code.INVALID_ARGUMENT, `${path} is not a regular file`);
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** The bytes of a regular file, which is opened each time they are read. */
export function fileChunks(path: string): SeekableChunks {
  return seekable((offset) => readFrom(path, offset));
}

async function* readFrom(path: string, offset: number): Chunks {
  const file = await openRegularFile(path);
  try {
    for (let at = offset; ;) {
      const buffer = Buffer.allocUnsafeSlow(chunkBytes);
      const { bytesRead } = await file.read(buffer, 0, chunkBytes, at);
      if (bytesRead === 0) return;
      at += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

/** The digest of a regular file; ABORTED when its size changes while it is read. */
export async function digestOfFile(
  path: string,
  digestFunction: DigestFunction,
  signal: AbortSignal,
): Promise<Digest> {
  const file = await openRegularFile(path);
  try {
    const { size } = await file.stat();
    const hasher = digestFunction.createHasher(size);
    const buffer = Buffer.allocUnsafe(Math.min(size + 1, chunkBytes));
    let readBytes = 0;
    while (readBytes <= size) {
      signal.throwIfAborted();
      const { bytesRead } = await file.read(buffer, 0, buffer.length);
      if (bytesRead === 0) break;
      readBytes += bytesRead;
      hasher.update(buffer.subarray(0, bytesRead));
    }
    if (readBytes !== size) {
      throw new StatusError(Code.ABORTED, `${path} changed while it was read`);
    }
    return Digest.of(digestFunction, hasher.digest(), size);
  } finally {
    await file.close();
  }
}
