import type { Chunks } from '../base/chunks.ts';

/**
 * How many bytes are gathered before the store gets them. Bazel sends 16 KiB at a time: handed on one
 * by one they cost twice the processor time of the whole upload, for each is a step through hash and disk.
 */
const gatheredBytes = 256 * 1024;

/** The most chunks gathered, so that those of a few bytes do not take far more memory than they carry. */
const gatheredChunks = 64;

/** Carries chunks from a client's streams to a store, which sets the pace. */
export class UploadChannel {
  readonly #sizeBytes: number;
  #chunks: Uint8Array[] = [];
  #heldBytes = 0;
  #acceptedBytes = 0;
  #ended = false;
  #closed = false;
  #changed = Promise.withResolvers<void>();

  /** The store gets the last chunk of `sizeBytes`, or one too many, without waiting for the end. */
  constructor(sizeBytes: number) {
    this.#sizeBytes = sizeBytes;
  }

  /** Bytes put in so far. */
  get acceptedBytes(): number {
    return this.#acceptedBytes;
  }

  /** Whether a chunk can be put in at once. */
  get hasRoom(): boolean {
    return !this.#closed && !this.#isDue;
  }

  /** Resolves when a chunk can be put in, or none will be taken any more. */
  async waitForRoom(): Promise<void> {
    while (!this.hasRoom && !this.#closed) await this.#changed.promise;
  }

  /** Whether the store takes no more, because it is done or has failed. */
  get isClosed(): boolean {
    return this.#closed;
  }

  /** Hands a chunk over; there must be room. */
  put(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#heldBytes += chunk.length;
    this.#acceptedBytes += chunk.length;
    if (this.#isDue) this.#change();
  }

  /** There are no more chunks. */
  end(): void {
    this.#ended = true;
    this.#change();
  }

  /** The store takes no more. */
  close(): void {
    this.#closed = true;
    this.#take();
  }

  /** The store's side. */
  async *chunks(): Chunks {
    for (;;) {
      while (!this.#isDue && !this.#ended && !this.#closed) await this.#changed.promise;
      const chunks = this.#take();
      if (chunks.length === 0) return;
      yield chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks);
    }
  }

  get #isDue(): boolean {
    if (this.#heldBytes === 0) return false;
    return (
      this.#heldBytes >= gatheredBytes ||
      this.#chunks.length >= gatheredChunks ||
      this.#acceptedBytes >= this.#sizeBytes
    );
  }

  #take(): Uint8Array[] {
    const chunks = this.#chunks;
    this.#chunks = [];
    this.#heldBytes = 0;
    this.#change();
    return chunks;
  }

  #change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}
