import { type Chunks, type SeekableChunks, seekable } from '../base/chunks.ts';
import { Code, StatusError } from '../base/status.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import { Digest } from '../digest/digest.ts';
import { type Opening, openRegularFile } from './in-place.ts';

/** Few calls per file, and little memory when many files are read at once. */
const chunkBytes = 256 * 1024;

/** For what is found beyond the size that a file had: most often that there is no more. */
const endBytes = 1024;

/** The bytes of a regular file, which is opened each time they are read. */
export function fileChunks(path: string, opening: Opening = 'anywhere'): SeekableChunks {
  return seekable((offset) => readFrom(path, offset, opening));
}

async function* readFrom(path: string, offset: number, opening: Opening): Chunks {
  const { file, sizeBytes } = await openRegularFile(path, opening);
  try {
    for (let at = offset; ;) {
      // Hundreds of small files are held at once.
      const buffer = Buffer.allocUnsafeSlow(
        Math.min(chunkBytes, Math.max(endBytes, sizeBytes - at)),
      );
      const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
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
  opening: Opening = 'anywhere',
): Promise<Digest> {
  const { file, sizeBytes: size } = await openRegularFile(path, opening);
  try {
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
