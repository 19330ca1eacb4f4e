import type { StoredBlob } from './stored-blob.ts';

/**
 * Which blobs are on one disk, and in which order they were used. It belongs to that disk, so its
 * answers come at once; only what must be durable is waited for.
 */
export interface BlobIndex {
  /** Whether the blob has a row. */
  has(blob: StoredBlob): boolean;
  /** Whether the blob has a row; if so it counts as used just now. */
  use(blob: StoredBlob): boolean;
  /** Adds the blob's row, as used just now, unless it is there. Durable once it resolves. */
  insert(blob: StoredBlob): Promise<void>;
  /** The same, as used before all others. */
  adopt(blob: StoredBlob): Promise<void>;
  /** Takes the rows away, all in one transaction, before it returns. */
  remove(blobs: readonly StoredBlob[]): void;
  /** All blobs, the least recently used first. Rows may be removed on the way. */
  leastRecentlyUsed(): Iterable<StoredBlob>;
  /** The blob that comes next after this one in the order of their names; without one, the first. */
  findNext(after: StoredBlob | undefined): StoredBlob | undefined;
  /** Up to where the blobs were verified, in the order of findNext. */
  findVerified(): StoredBlob | undefined;
  /** Remembers that, across restarts. */
  noteVerified(blob: StoredBlob): Promise<void>;
  /** Of all rows; known without counting them. */
  totals(): BlobIndexTotals;
  /** Keeps what it holds in memory, if it can, and lets go of the database; a second call does nothing. */
  close(): Promise<void>;
}

export interface BlobIndexTotals {
  readonly blobs: number;
  /** What their files take of the disk. */
  readonly diskBytes: number;
}
