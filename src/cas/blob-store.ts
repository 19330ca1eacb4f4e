import type { Chunks } from '../base/chunks.ts';
import type { Digest } from '../digest/digest.ts';

/** Where the blobs of one instance live: on this disk, in memory, or behind another server. */
export interface BlobStore {
  /** The given digests that are absent, each once; those present count as used just now (CAS-03). */
  findMissing(digests: readonly Digest[], signal: AbortSignal): Promise<Digest[]>;
  /**
   * The blob's bytes from `offset` on. Fails with NOT_FOUND before the first chunk when it is absent,
   * and with OUT_OF_RANGE when `offset` is negative or beyond its size. A complete read whose bytes do
   * not match the digest fails before its last chunk. The blob counts as used just now and is not
   * evicted while it is read.
   */
  read(digest: Digest, offset: number, signal: AbortSignal): Chunks;
  /**
   * Stores the blob if `chunks` have its size and hash; else stores nothing and fails with
   * INVALID_ARGUMENT, as soon as there are too many bytes. Durable and visible once it resolves. May
   * resolve before `chunks` end when the blob is there already.
   */
  write(digest: Digest, chunks: Chunks, signal: AbortSignal): Promise<void>;
}
