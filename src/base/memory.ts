import { AsyncLocalStorage } from 'node:async_hooks';
import { getHeapStatistics } from 'node:v8';
import { Code, StatusError } from './status.ts';

/** What all objects of this process may take together; V8 ends it when they take more. */
export const heapBytesMax = getHeapStatistics().heap_size_limit;

/**
 * What may be held for all that is under way at once. What is made of it on the way takes as much again at
 * worst (action results, measured); the rest is for caches, queues and garbage.
 */
const HELD_BYTES_MAX = Math.floor(heapBytesMax / 3);
/** What may be held for one thing: not all, so that small ones go on meanwhile. */
const HELD_FOR_ONE_BYTES_MAX = Math.floor(heapBytesMax / 4);
/** Most calls take less: they go on when a few large ones hold all there is for these. */
const SMALL_BYTES = 64 * 1024;
const HELD_BYTES_MAX_OF_SMALL = Math.floor(heapBytesMax / 2);

let heldBytes = 0;

/** Memory that one call, or another thing that is done for somebody, holds until it has ended. */
export class HeldMemory {
  #bytes = 0;
  #isClosed = false;

  /**
   * Counts `bytes` more, best before they are there. Fails with INVALID_ARGUMENT when that is more than one
   * may hold, a quarter of the heap, and with UNAVAILABLE when others hold too much just now.
   */
  add(bytes: number): void {
    if (this.#isClosed) return;
    if (this.#bytes + bytes > HELD_FOR_ONE_BYTES_MAX) {
      throw new StatusError(
        Code.INVALID_ARGUMENT,
        `this takes more than ${HELD_FOR_ONE_BYTES_MAX} bytes of memory, the limit here`,
      );
    }
    const bytesMax = bytes > SMALL_BYTES ? HELD_BYTES_MAX : HELD_BYTES_MAX_OF_SMALL;
    if (heldBytes + bytes > bytesMax) {
      throw new StatusError(
        Code.UNAVAILABLE,
        `too much is under way here: it takes ${heldBytes} of the ${bytesMax} bytes of memory there are for ` +
          `it, and ${bytes} more are needed; try again`,
      );
    }
    this.#bytes += bytes;
    heldBytes += bytes;
  }

  /** All that was added is held no more. */
  release(): void {
    heldBytes -= this.#bytes;
    this.#bytes = 0;
  }

  /** The same, at the end: what is still added is not counted. */
  close(): void {
    this.release();
    this.#isClosed = true;
  }
}

const current = new AsyncLocalStorage<HeldMemory>();

/** Does `work`; what `holdMemory` counts meanwhile is held until it has ended. */
export async function withHeldMemory<T>(work: () => Promise<T>): Promise<T> {
  const held = new HeldMemory();
  try {
    return await current.run(held, work);
  } finally {
    held.close();
  }
}

/**
 * Counts memory for the work that this is called in; see `HeldMemory.add`. Counts nothing outside of
 * `withHeldMemory`.
 */
export function holdMemory(bytes: number): void {
  current.getStore()?.add(bytes);
}
