import { chunksOf } from '../base/chunks.ts';
import { Code, StatusError } from '../base/status.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import type { Digest } from '../digest/digest.ts';
import { fileChunks } from '../tree/file-chunks.ts';
import { defaultScanOptions, scanFolder, type ScannedFolder } from '../tree/scan-folder.ts';
import { uploadMissing } from '../tree/upload-files.ts';
import { OriginFailure } from './origin-failure.ts';

/**
 * Stores a folder as a tree, and gives the digest of its root. What cannot be a tree, such as a name that
 * is not UTF-8, is an OriginFailure: the folder came from there.
 */
export async function storeFolder(
  folder: string,
  digestFunction: DigestFunction,
  { sizeBytesMax }: { readonly sizeBytesMax: number },
  blobs: BlobStore,
  signal: AbortSignal,
): Promise<Digest> {
  const scanned = await scan(folder, digestFunction, sizeBytesMax, signal);
  const directories = scanned.directories.map(({ digest, bytes }) => ({
    digest,
    open: () => chunksOf(bytes),
  }));
  const files = scanned.files.map(({ digest, path }) => ({ digest, open: () => fileChunks(path) }));
  // Files first: a directory that is there has all that it names.
  await uploadMissing(blobs, files, signal);
  await uploadMissing(blobs, directories.toReversed(), signal);
  return scanned.root;
}

async function scan(
  folder: string,
  digestFunction: DigestFunction,
  bytesMax: number,
  signal: AbortSignal,
): Promise<ScannedFolder> {
  try {
    return await scanFolder(folder, digestFunction, { ...defaultScanOptions, bytesMax }, signal);
  } catch (thrown) {
    if (!(thrown instanceof StatusError) || thrown.code !== Code.INVALID_ARGUMENT) throw thrown;
    const what = thrown.message.replaceAll(folder, '');
    throw new OriginFailure(Code.ABORTED, `what was fetched cannot be stored: ${what}`);
  }
}
