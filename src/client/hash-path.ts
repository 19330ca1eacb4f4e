import { realpath, stat } from 'node:fs/promises';
import { Code, StatusError } from '../base/status.ts';
import { chunksOf } from '../base/chunks.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import type { Digest } from '../digest/digest.ts';
import { digestOfFile, fileChunks } from '../tree/file-chunks.ts';
import { defaultScanOptions, scanFolder } from '../tree/scan-folder.ts';
import type { BlobSource } from '../tree/upload-files.ts';

/** A file or folder of this machine, by the digest it has or will have on the server. */
export interface LocalPath {
  readonly path: string;
  readonly kind: 'file' | 'directory';
  /** Of the file's bytes, or of the folder's Directory message. */
  readonly digest: Digest;
  readonly sources: readonly BlobSource[];
}

/**
 * Hashes a file, or everything below a folder. `path` itself may be a link, which is followed: its
 * writer named it. NOT_FOUND when there is nothing.
 */
export async function hashPath(
  path: string,
  digestFunction: DigestFunction,
  signal: AbortSignal,
): Promise<LocalPath> {
  const stats = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
    throw error;
  });
  if (!stats) throw new StatusError(Code.NOT_FOUND, `${path} does not exist`);
  if (!stats.isDirectory()) {
    const target = await realpath(path);
    const digest = await digestOfFile(target, digestFunction, signal);
    const sources = [{ digest, open: () => fileChunks(target) }];
    return { path, kind: 'file', digest, sources };
  }
  const options = defaultScanOptions;
  const { root, directories, files } = await scanFolder(
    await realpath(path),
    digestFunction,
    options,
    signal,
  );
  return {
    path,
    kind: 'directory',
    digest: root,
    sources: [
      ...directories.map(({ digest, bytes }) => ({ digest, open: () => chunksOf(bytes) })),
      ...files.map((file) => ({ digest: file.digest, open: () => fileChunks(file.path) })),
    ],
  };
}
