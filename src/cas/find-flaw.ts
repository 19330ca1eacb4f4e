import type { FileHandle } from 'node:fs/promises';
import { allDigestFunctions } from '../digest/digest-functions.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import type { BlobFiles } from './blob-files.ts';
import type { StoredBlob } from './stored-blob.ts';

/** What is read at a time. */
const chunkBytes = 2 ** 20;

/** The digest function of a stored blob. */
export function findDigestFunction({ functionName }: StoredBlob): DigestFunction | undefined {
  return allDigestFunctions.find(({ name }) => name === functionName);
}

export interface Flaw {
  readonly what: string;
  /** The file that was read. */
  readonly ino: number;
}

/**
 * What is wrong with a blob's file of the right size, if anything. `goesOn` is asked after each chunk, and
 * may take its time; without it, nothing is found, nor with a digest function that nobody knows. Fails when
 * the file cannot be opened.
 */
export async function findFlaw(
  files: BlobFiles,
  blob: StoredBlob,
  goesOn: (bytes: number) => Promise<boolean>,
): Promise<Flaw | undefined> {
  const { hash, sizeBytes } = blob;
  const file = await files.open(blob);
  try {
    const { ino } = await file.stat();
    const hasher = findDigestFunction(blob)?.createHasher(sizeBytes);
    if (!hasher) return undefined;
    for (let at = 0; at < sizeBytes;) {
      const chunk = Buffer.allocUnsafe(Math.min(chunkBytes, sizeBytes - at));
      const what = await fill(file, chunk, at);
      if (what !== undefined) return { what, ino };
      hasher.update(chunk);
      at += chunk.length;
      if (!(await goesOn(chunk.length))) return undefined;
    }
    return hasher.digest() === hash ? undefined : { what: 'its bytes have another hash', ino };
  } finally {
    await file.close();
  }
}

/** Fills the buffer from a blob's file, or says what is wrong with that. */
export async function fill(
  file: FileHandle,
  buffer: Uint8Array,
  position: number,
): Promise<string | undefined> {
  for (let at = 0; at < buffer.length;) {
    try {
      const { bytesRead } = await file.read(buffer, at, buffer.length - at, position + at);
      if (bytesRead === 0) return 'its file is too short';
      at += bytesRead;
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'EIO') throw thrown;
      return 'the disk cannot read it';
    }
  }
  return undefined;
}
