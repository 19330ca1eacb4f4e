import { createHash } from 'node:crypto';
import type { Hasher } from './digest-function.ts';

/** Names a blob as Git does: SHA-1 over a header with its size, then the bytes (DIG-14). */
export function createGitSha1Hasher(sizeBytes: number): Hasher {
  const hasher = createHash('sha1').update(`blob ${sizeBytes}\0`);
  return {
    update: (chunk) => void hasher.update(chunk),
    digest: () => hasher.digest('hex'),
  };
}
