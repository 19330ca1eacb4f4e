import type { Chunks } from '../base/chunks.ts';
import { Code, StatusError } from '../base/status.ts';
import type { Digest } from '../digest/digest.ts';
import { blobNotFound, checkReadOffset } from './blob-errors.ts';
import type { BlobStorage, BlobStorageStats } from './blob-storage.ts';
import type { BlobStore } from './blob-store.ts';
import { ConcurrentUploads } from './concurrent-uploads.ts';
import { untilAborted } from '../base/until-aborted.ts';
import { PieceSizes } from './piece-sizes.ts';
import { UploadCheck } from './upload-check.ts';
import { withEmptyBlob } from './with-empty-blob.ts';

export interface MemoryBlobsOptions {
  /** What all blobs together may take; the least recently used go first when it is full. */
  readonly sizeBytesMax: number;
}

interface Entry {
  readonly bytes: Uint8Array;
  /** Reads under way; it is not evicted before there are none. */
  reads: number;
}

/** What the key, the map's slot and the buffer's header take beside a blob's bytes, about. */
const entryBytes = 256;

/** Blobs in the memory of this process: nothing outlives it. */
export class MemoryBlobs implements BlobStorage {
  readonly #options: MemoryBlobsOptions;
  /** The least recently used first. */
  readonly #entries = new Map<string, Entry>();
  readonly #uploads = new ConcurrentUploads();
  readonly #pieces = new PieceSizes();
  #storedBytes = 0;
  /** What uploads under way may come to. */
  #reservedBytes = 0;
  /** What has arrived of it. */
  #filledBytes = 0;
  /** Of blobs that are being read. */
  #heldBytes = 0;
  #evictedBlobs = 0;
  #evictedBytes = 0;

  constructor(options: MemoryBlobsOptions) {
    this.#options = options;
  }

  namespace(name: string): BlobStore {
    const keyOf = (digest: Digest) => `${digest.key}/${name}`;
    return withEmptyBlob({
      findMissing: async (digests, signal) => {
        signal.throwIfAborted();
        return this.#findMissing(keyOf, digests);
      },
      read: (digest, offset, signal) => this.#read(keyOf(digest), digest, offset, signal),
      write: (digest, chunks, signal) => this.#write(keyOf(digest), digest, chunks, signal),
    });
  }

  stats(): BlobStorageStats {
    return {
      blobs: this.#entries.size,
      usedBytes: this.#storedBytes + this.#filledBytes,
      sizeBytesMax: this.#options.sizeBytesMax,
      evictedBlobs: this.#evictedBlobs,
      evictedBytes: this.#evictedBytes,
      corruptBlobs: 0,
    };
  }

  async sweep(): Promise<void> {}

  async verify(): Promise<void> {}

  async close(): Promise<void> {
    this.#entries.clear();
  }

  #findMissing(keyOf: (digest: Digest) => string, digests: readonly Digest[]): Digest[] {
    const missing = new Map<string, Digest>();
    for (const digest of digests) {
      const key = keyOf(digest);
      if (!this.#use(key)) missing.set(key, digest);
    }
    return [...missing.values()];
  }

  async *#read(key: string, digest: Digest, offset: number, signal: AbortSignal): Chunks {
    checkReadOffset(digest, offset);
    const entry = this.#use(key);
    if (!entry) throw blobNotFound(digest);
    if (entry.reads++ === 0) this.#heldBytes += entry.bytes.length + entryBytes;
    const end = this.#pieces.begin();
    try {
      for (let at = offset; at < entry.bytes.length;) {
        signal.throwIfAborted();
        const piece = entry.bytes.subarray(at, at + this.#pieces.bytes);
        at += piece.length;
        yield piece;
      }
    } finally {
      end();
      if (--entry.reads === 0) this.#heldBytes -= entry.bytes.length + entryBytes;
    }
  }

  async #write(key: string, digest: Digest, chunks: Chunks, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#use(key)) return;
    const reserved = this.#reserve(digest);
    const upload = this.#uploads.begin(key);
    try {
      const bytes = await receive(digest, reserved.grow, chunks, signal, upload.completed);
      if (this.#entries.has(key)) return;
      this.#entries.set(key, { bytes, reads: 0 });
      this.#storedBytes += bytes.length + entryBytes;
      upload.complete();
    } catch (thrown) {
      if (!upload.completed.aborted) throw thrown;
    } finally {
      reserved.release();
      upload.end();
    }
  }

  /** The entry, which counts as used just now. */
  #use(key: string): Entry | undefined {
    const entry = this.#entries.get(key);
    if (!entry) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry;
  }

  /**
   * Reserves room for the blob before its first byte is taken in, if there can be enough: `grow`, called
   * with what arrives, evicts others for it, and not for what was announced.
   */
  #reserve(digest: Digest): { grow: (bytes: number) => void; release: () => void } {
    const neededBytes = digest.sizeBytes + entryBytes;
    const { sizeBytesMax } = this.#options;
    const doesNotFit = () =>
      new StatusError(
        Code.RESOURCE_EXHAUSTED,
        `blob ${digest} does not fit: memory for blobs is limited to max_size = ${sizeBytesMax} ` +
          'bytes, less what is being read and written now',
      );
    if (this.#heldBytes + this.#reservedBytes + neededBytes > sizeBytesMax) throw doesNotFit();
    this.#reservedBytes += neededBytes;
    let filledBytes = 0;
    const grow = (bytes: number) => {
      filledBytes += bytes;
      this.#filledBytes += bytes;
      if (this.#isOver) this.#evictOthers();
      if (this.#isOver) throw doesNotFit();
    };
    return {
      grow,
      release: () => {
        this.#reservedBytes -= neededBytes;
        this.#filledBytes -= filledBytes;
      },
    };
  }

  get #isOver(): boolean {
    return this.#storedBytes + this.#filledBytes > this.#options.sizeBytesMax;
  }

  /** The least recently used first, until all fits. */
  #evictOthers(): void {
    for (const [key, entry] of this.#entries) {
      if (!this.#isOver) return;
      if (entry.reads === 0) this.#evict(key, entry);
    }
  }

  #evict(key: string, entry: Entry): void {
    this.#entries.delete(key);
    this.#storedBytes -= entry.bytes.length + entryBytes;
    this.#evictedBlobs++;
    this.#evictedBytes += entry.bytes.length;
  }
}

/** The checked bytes in a buffer of their own: a chunk may be a small part of a large one. */
async function receive(
  digest: Digest,
  grow: (bytes: number) => void,
  chunks: Chunks,
  ...signals: readonly AbortSignal[]
): Promise<Uint8Array> {
  const check = new UploadCheck(digest);
  const parts: Uint8Array[] = [];
  grow(entryBytes);
  for await (const chunk of untilAborted(chunks, ...signals)) {
    check.update(chunk);
    grow(chunk.length);
    parts.push(chunk);
  }
  check.finish();
  return Buffer.concat(parts);
}
