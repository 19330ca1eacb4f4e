import { setImmediate } from 'node:timers/promises';
import type { Chunks } from '../base/chunks.ts';
import { Code, StatusError } from '../base/status.ts';
import { blobNotFound, checkReadOffset } from '../cas/blob-errors.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import type { Digest } from '../digest/digest.ts';
import type { ComposingStore } from './chunked-blobs.ts';
import type { ChunkLists } from './chunk-lists.ts';

/** A blob of more chunks is stored whole: each look at it is a look at all of them. */
const chunksMax = 4_096;

/** Lists looked for before others get a turn: 500 hold the event loop for some ms. */
const sliceDigests = 500;

export interface SplicedBlobsOptions {
  /** Tells the lists of one store from those of another. */
  readonly namespace: string;
  readonly lists: ChunkLists;
  /** A larger blob is left to `write`, which refuses it. */
  readonly blobBytesMax: number;
}

/**
 * A store in which a blob that was put together from chunks takes no place of its own: it is the list of
 * them, and there as long as they all are. Whatever is asked of the blob counts as a use of its chunks.
 */
export class SplicedBlobs implements ComposingStore {
  readonly #blobs: BlobStore;
  readonly #options: SplicedBlobsOptions;

  constructor(blobs: BlobStore, options: SplicedBlobsOptions) {
    this.#blobs = blobs;
    this.#options = options;
  }

  async findMissing(digests: readonly Digest[], signal: AbortSignal): Promise<Digest[]> {
    const missing: Digest[] = [];
    const notWhole = await this.#blobs.findMissing(digests, signal);
    for (const [index, digest] of notWhole.entries()) {
      if (index % sliceDigests === sliceDigests - 1) await setImmediate();
      signal.throwIfAborted();
      if (!(await this.#findChunks(digest, signal))) missing.push(digest);
    }
    return missing;
  }

  async *read(digest: Digest, offset: number, signal: AbortSignal): Chunks {
    const isSpliced = this.#options.lists.find(this.#options.namespace, digest) !== undefined;
    const isWhole = !isSpliced || (await this.#blobs.findMissing([digest], signal)).length === 0;
    if (isWhole) {
      yield* this.#blobs.read(digest, offset, signal);
      return;
    }
    const chunks = await this.#findChunks(digest, signal);
    if (!chunks) throw blobNotFound(digest);
    checkReadOffset(digest, offset);
    let at = 0;
    for (const chunk of chunks) {
      const from = Math.max(0, offset - at);
      if (from < chunk.sizeBytes) yield* this.#readChunk(digest, chunk, from, signal);
      at += chunk.sizeBytes;
    }
  }

  write(digest: Digest, chunks: Chunks, signal: AbortSignal): Promise<void> {
    return this.#blobs.write(digest, chunks, signal);
  }

  async compose(digest: Digest, chunks: readonly Digest[], signal: AbortSignal): Promise<void> {
    const parts = await this.#findParts(chunks, signal);
    if (!parts || digest.sizeBytes > this.#options.blobBytesMax) {
      await this.#blobs.write(digest, this.#concatenated(chunks, signal), signal);
      return;
    }
    const hasher = digest.function.createHasher(digest.sizeBytes);
    for await (const bytes of this.#concatenated(parts, signal)) hasher.update(bytes);
    const hash = hasher.digest();
    if (hash !== digest.hash) {
      throw new StatusError(
        Code.INVALID_ARGUMENT,
        `the chunks of ${digest} have the digest ${hash}/${digest.sizeBytes} together`,
      );
    }
    this.#options.lists.put(this.#options.namespace, digest, parts);
  }

  /**
   * The chunks without empty ones, and those of a list in the place of a chunk that is one itself. Undefined
   * when there are none, or too many for a list: a short request can stand for millions.
   */
  async #findParts(chunks: readonly Digest[], signal: AbortSignal): Promise<Digest[] | undefined> {
    const parts: Digest[] = [];
    for (const chunk of chunks) {
      if (chunk.sizeBytes === 0) continue;
      const list = this.#options.lists.find(this.#options.namespace, chunk);
      const isWhole = !list || (await this.#blobs.findMissing([chunk], signal)).length === 0;
      if (isWhole) parts.push(chunk);
      else parts.push(...list);
      if (parts.length > chunksMax) return undefined;
    }
    return parts.length > 0 ? parts : undefined;
  }

  async *#concatenated(chunks: readonly Digest[], signal: AbortSignal): Chunks {
    for (const chunk of chunks) yield* this.read(chunk, 0, signal);
  }

  /** The blob's chunks if it has a list of them and all are there. What is gone may come back. */
  async #findChunks(digest: Digest, signal: AbortSignal): Promise<readonly Digest[] | undefined> {
    const { namespace, lists } = this.#options;
    const chunks = lists.find(namespace, digest);
    if (!chunks) return undefined;
    const missing = await this.#blobs.findMissing(chunks, signal);
    return missing.length === 0 ? chunks : undefined;
  }

  /** All chunks were there when the read began, and used last: one that is gone had to go for others. */
  async *#readChunk(blob: Digest, chunk: Digest, from: number, signal: AbortSignal): Chunks {
    try {
      yield* this.#blobs.read(chunk, from, signal);
    } catch (thrown) {
      if (StatusError.from(thrown).code !== Code.NOT_FOUND) throw thrown;
      throw new StatusError(
        Code.UNAVAILABLE,
        `chunk ${chunk} of blob ${blob} went while the blob was read; ask again`,
        { cause: thrown },
      );
    }
  }
}
