import { createHash } from 'node:crypto';
import type { Digest } from '../digest/digest.ts';

/** A blob of one instance as it stands on disk and in the index. */
export interface StoredBlob {
  /** The folder of its instance, see namespaceFolder. */
  readonly namespace: string;
  readonly functionName: string;
  readonly hash: string;
  readonly sizeBytes: number;
  /** Where its file is, below the folder of all blobs; the same for the same blob only. */
  readonly path: string;
}

export function storedBlob(namespace: string, digest: Digest): StoredBlob {
  return located(namespace, digest.function.name, digest.hash, digest.sizeBytes);
}

/** The blob with these columns of the index. */
export function located(
  namespace: string,
  functionName: string,
  hash: string,
  sizeBytes: number,
): StoredBlob {
  const path = `${namespace}/${functionName}/${hash.slice(0, 2)}/${hash}-${sizeBytes}`;
  return { namespace, functionName, hash, sizeBytes, path };
}

/** The blob whose file is called so, if any is. */
export function parseFileName(
  namespace: string,
  functionName: string,
  fileName: string,
): StoredBlob | undefined {
  const match = /^([0-9a-f]+)-([0-9]+)$/.exec(fileName);
  if (!match) return undefined;
  const [, hash = '', size = ''] = match;
  return located(namespace, functionName, hash, Number(size));
}

/** Filesystems give a file whole blocks, nearly always of this size. */
const blockBytes = 4096;

/** What a blob's file takes of the disk: a million tiny blobs take 4 GB, not the sum of their sizes. */
export function diskBytesOf(sizeBytes: number): number {
  return Math.ceil(sizeBytes / blockBytes) * blockBytes;
}

/** Names of up to 255 bytes are safe everywhere. */
const folderLengthMax = 200;

/**
 * The name of the folder for an instance of any name: lower-case letters, digits, `-` and `_` stay, all
 * else is escaped, so that it is never a path and two names never share a folder, even on a disk that
 * ignores case. Names that get too long are hashed.
 */
export function namespaceFolder(instanceName: string): string {
  if (instanceName === '') return '%';
  const folder = Array.from(Buffer.from(instanceName), (byte) => {
    const character = String.fromCodePoint(byte);
    return /[a-z0-9_-]/.test(character) ? character : `%${byte.toString(16).padStart(2, '0')}`;
  }).join('');
  if (folder.length <= folderLengthMax) return folder;
  return `%%${createHash('sha256').update(instanceName).digest('hex')}`;
}
