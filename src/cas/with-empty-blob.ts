import type { Chunks } from '../base/chunks.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import { Digest } from '../digest/digest.ts';
import { checkReadOffset } from './blob-errors.ts';
import type { BlobStore } from './blob-store.ts';

const emptyHashes = new WeakMap<DigestFunction, string>();

/**
 * Makes the empty blob of every digest function always present and never stored (DIG-11): clients do
 * not upload it, yet actions and output directories refer to it. A size of 0 with any other hash
 * names no blob at all.
 */
export function withEmptyBlob(base: BlobStore): BlobStore {
  return {
    findMissing: (digests, signal) =>
      base.findMissing(
        digests.some(isEmptyBlob) ? digests.filter((digest) => !isEmptyBlob(digest)) : digests,
        signal,
      ),
    read: (digest, offset, signal) =>
      isEmptyBlob(digest) ? readNothing(digest, offset) : base.read(digest, offset, signal),
    write: async (digest, chunks, signal) => {
      if (!isEmptyBlob(digest)) await base.write(digest, chunks, signal);
    },
  };
}

function isEmptyBlob(digest: Digest): boolean {
  return digest.sizeBytes === 0 && digest.hash === emptyHashOf(digest.function);
}

function emptyHashOf(digestFunction: DigestFunction): string {
  let hash = emptyHashes.get(digestFunction);
  if (hash === undefined) {
    hash = Digest.ofBytes(digestFunction, new Uint8Array()).hash;
    emptyHashes.set(digestFunction, hash);
  }
  return hash;
}

// oxlint-disable-next-line require-yield -- the empty blob has no bytes
async function* readNothing(digest: Digest, offset: number): Chunks {
  checkReadOffset(digest, offset);
}
