import type { BlobStore } from './blob-store.ts';

/** Everything that holds blobs in this process: one budget of space, shared by all instances. */
export interface BlobStorage {
  /**
   * The blobs of the instance called `name` (any text, the empty one too). Instances see nothing of
   * each other. The empty blob is always present (DIG-11).
   */
  namespace(name: string): BlobStore;
  /** What is held right now; costs nothing to ask. */
  stats(): BlobStorageStats;
  /**
   * Clears up what an earlier process left behind. It is slow and yields to calls: start it once the
   * server listens. Resolves when it is through; rejects with the signal's reason when aborted.
   */
  sweep(signal: AbortSignal): Promise<void>;
  /**
   * Reads all blobs again and again, each once in `intervalMs` while this goes on, and puts the damaged
   * ones away as a read does. Gentle enough to go on while calls are answered. Rejects with the signal's
   * reason; resolves at once where blobs cannot be damaged.
   */
  verify(intervalMs: number, signal: AbortSignal): Promise<void>;
  /** Lets go of files and memory; no call may be under way. A second call does nothing. */
  close(): Promise<void>;
}

export interface BlobStorageStats {
  readonly blobs: number;
  /** What the blobs and the uploads under way take of the budget. */
  readonly usedBytes: number;
  readonly sizeBytesMax: number;
  /** Since the start. */
  readonly evictedBlobs: number;
  readonly evictedBytes: number;
  /** Blobs found damaged since the start (CI-05). */
  readonly corruptBlobs: number;
}
