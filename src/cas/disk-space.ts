import type { Chunks } from '../base/chunks.ts';
import { Code, StatusError } from '../base/status.ts';
import type { BlobFiles } from './blob-files.ts';
import type { BlobIndex } from './blob-index.ts';
import type { Pins } from './pins.ts';
import { diskBytesOf, type StoredBlob } from './stored-blob.ts';

/** How far an eviction goes once one is needed, so that not every upload needs one: 95 %. */
const lowWater = 0.95;

/** Files deleted at a time: the event loop and the disk get to others in between. */
const batchBlobs = 256;

/** What an upload takes at least of its reservation when it needs more: not each chunk evicts. */
const stepBytes = 2 ** 20;

/** Room that an upload may take. */
export interface ReservedSpace {
  /**
   * The chunks, each as soon as there is room for it: others are evicted for what has arrived, not for
   * what was announced. Fails with RESOURCE_EXHAUSTED when so much is being read since the reservation
   * that eviction does not get it.
   */
  filled(chunks: Chunks, signal: AbortSignal): Chunks;
  /** Ends the reservation. By then the blob has its row, or its bytes are gone. */
  release(): void;
}

/** The space that blobs may take on one disk: reserved before a byte arrives, made by eviction. */
export class DiskSpace {
  readonly #sizeBytesMax: number;
  readonly #index: BlobIndex;
  readonly #files: BlobFiles;
  readonly #pins: Pins;
  /** What uploads under way may come to. */
  #reservedBytes = 0;
  /** The part of it that room has been made for. */
  #filledBytes = 0;
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
    return this.#index.totals().diskBytes + this.#filledBytes + this.#leavingBytes;
  }

  /**
   * Reserves room for the blob. Fails with RESOURCE_EXHAUSTED, and evicts nothing, when it would not fit
   * even if all were evicted that is not being read or written now.
   */
  reserve(blob: StoredBlob): ReservedSpace {
    const neededBytes = diskBytesOf(blob.sizeBytes);
    if (this.#reservedBytes + this.#pins.heldBytes + neededBytes > this.#sizeBytesMax) {
      throw this.#doesNotFit(blob);
    }
    let filledBytes = 0;
    this.#reservedBytes += neededBytes;
    const grow = async (arrivedBytes: number, signal: AbortSignal) => {
      if (arrivedBytes <= filledBytes) return;
      const wantedBytes = Math.max(diskBytesOf(arrivedBytes), filledBytes + stepBytes);
      const moreBytes = Math.min(neededBytes, wantedBytes) - filledBytes;
      while (this.usedBytes + moreBytes > this.#sizeBytesMax) {
        if (!(await this.#evict(moreBytes))) throw this.#doesNotFit(blob);
        signal.throwIfAborted();
      }
      filledBytes += moreBytes;
      this.#filledBytes += moreBytes;
    };
    return {
      filled: async function* (chunks, signal) {
        let arrivedBytes = 0;
        for await (const chunk of chunks) {
          arrivedBytes += chunk.length;
          await grow(arrivedBytes, signal);
          yield chunk;
        }
      },
      release: () => {
        this.#reservedBytes -= neededBytes;
        this.#filledBytes -= filledBytes;
      },
    };
  }

  /** Whether nothing has to go for the blob. */
  hasRoomFor(blob: StoredBlob): boolean {
    return this.usedBytes + diskBytesOf(blob.sizeBytes) <= this.#sizeBytesMax;
  }

  #doesNotFit(blob: StoredBlob): StatusError {
    return new StatusError(
      Code.RESOURCE_EXHAUSTED,
      `blob ${blob.hash}/${blob.sizeBytes} does not fit: blobs on this disk are limited to ` +
        `max_size = ${this.#sizeBytesMax} bytes, less what is being read and written now`,
    );
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
    // The rows go first: a crash in between leaves files without rows, for the sweep.
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
