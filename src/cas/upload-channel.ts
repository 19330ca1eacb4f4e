import type { Chunks } from '../base/chunks.ts';

/** Carries chunks from a client's streams to a store, one at a time: the store sets the pace. */
export class UploadChannel {
  #chunk: Uint8Array | undefined;
  #ended = false;
  #closed = false;
  #changed = Promise.withResolvers<void>();

  /** Resolves when a chunk can be put in, or none will be taken any more. */
  async waitForRoom(): Promise<void> {
    while (this.#chunk && !this.#closed) await this.#changed.promise;
  }

  /** Whether the store takes no more, because it is done or has failed. */
  get isClosed(): boolean {
    return this.#closed;
  }

  /** Hands a chunk over; there must be room. */
  put(chunk: Uint8Array): void {
    this.#chunk = chunk;
    this.#change();
  }

  /** There are no more chunks. */
  end(): void {
    this.#ended = true;
    this.#change();
  }

  /** The store takes no more. */
  close(): void {
    this.#closed = true;
    this.#chunk = undefined;
    this.#change();
  }

  /** The store's side. */
  async *chunks(): Chunks {
    for (;;) {
      while (!this.#chunk && !this.#ended && !this.#closed) await this.#changed.promise;
      const chunk = this.#chunk;
      if (!chunk) return;
      this.#chunk = undefined;
      this.#change();
      yield chunk;
    }
  }

  #change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}
