import { Code, StatusError } from '../base/status.ts';
import type { BlobFiles } from './blob-files.ts';
import type { BlobIndex } from './blob-index.ts';
import type { Pins } from './pins.ts';
import { diskBytesOf, type StoredBlob } from './stored-blob.ts';

/** How far an eviction goes once one is needed, so that not every upload needs one: 95 %. */
const lowWater = 0.95;

/** Files deleted at a time: the event loop and the disk get to others in between. */
const batchBlobs = 256;

/** The space that blobs may take on one disk: reserved before a byte arrives, made by eviction. */
export class DiskSpace {
  readonly #sizeBytesMax: number;
  readonly #index: BlobIndex;
  readonly #files: BlobFiles;
  readonly #pins: Pins;
  #reservedBytes = 0;
  /** Of files whose rows are gone already. */
  #leavingBytes = 0;
  #eviction: Promise<boolean> | undefined;
  evictedBlobs = 0;
  evictedBytes = 0;

  constructor(sizeBytesMax: number, index: BlobIndex, files: BlobFiles, pins: Pins) {
    this.#sizeBytesMax = sizeBytesMax;
    this.#index = index;
    this.#files = files;
    this.#pins = pins;
  }

  get usedBytes(): number {
    return this.#index.totals().diskBytes + this.#reservedBytes + this.#leavingBytes;
  }

  /**
   * Reserves room for the blob and gives the function that ends the reservation. Evicts the least
   * recently used blobs to make it; fails with RESOURCE_EXHAUSTED when that is not enough.
   */
  async reserve(blob: StoredBlob, signal: AbortSignal): Promise<() => void> {
    const neededBytes = diskBytesOf(blob.sizeBytes);
    const isOver = () => this.usedBytes + neededBytes > this.#sizeBytesMax;
    while (isOver()) {
      if (neededBytes > this.#sizeBytesMax || !(await this.#evict(neededBytes))) {
        throw new StatusError(
          Code.RESOURCE_EXHAUSTED,
          `blob ${blob.hash}/${blob.sizeBytes} does not fit: blobs on this disk are limited to ` +
            `max_size = ${this.#sizeBytesMax} bytes, less what is being read and written now`,
        );
      }
      signal.throwIfAborted();
    }
    this.#reservedBytes += neededBytes;
    return () => {
      this.#reservedBytes -= neededBytes;
    };
  }

  /** One batch, shared by all who wait for room; false when there was nothing left to evict. */
  #evict(neededBytes: number): Promise<boolean> {
    this.#eviction ??= this.#evictBatch(neededBytes).finally(() => {
      this.#eviction = undefined;
    });
    return this.#eviction;
  }

  async #evictBatch(neededBytes: number): Promise<boolean> {
    const goalBytes = Math.min(this.#sizeBytesMax * lowWater, this.#sizeBytesMax - neededBytes);
    const excessBytes = this.usedBytes - goalBytes;
    const victims: StoredBlob[] = [];
    let leavingBytes = 0;
    for (const blob of this.#index.leastRecentlyUsed()) {
      if (leavingBytes >= excessBytes || victims.length >= batchBlobs) break;
      if (this.#pins.count(blob.path) > 0) continue;
      victims.push(blob);
      leavingBytes += diskBytesOf(blob.sizeBytes);
    }
    // The rows go first: a crash in between leaves files without rows, which the sweep removes.
    this.#index.remove(victims);
    this.#leavingBytes += leavingBytes;
    try {
      await Promise.all(victims.map((blob) => this.#files.remove(blob)));
    } finally {
      this.#leavingBytes -= leavingBytes;
    }
    this.evictedBlobs += victims.length;
    for (const { sizeBytes } of victims) this.evictedBytes += sizeBytes;
    return victims.length > 0;
  }
}
