import { chunksOf } from '../base/chunks.ts';
import { LruCache } from '../base/lru-cache.ts';
import { Permits } from '../base/permits.ts';
import { Code, StatusError } from '../base/status.ts';
import { blobNotFound } from '../cas/blob-errors.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import { Digest } from '../digest/digest.ts';
import type { ChunkingFunction_Value } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { ChunkingFunction } from './chunking-function.ts';
import { cutChunks } from './cut-chunks.ts';

export interface ChunkedBlobsOptions {
  /** Blobs cut at once; each holds two windows of its function, up to 5 MiB. */
  readonly cutsAtOnce: number;
  /** What the lists of chunks that are remembered may take. */
  readonly rememberedBytesMax: number;
}

const defaultChunkedBlobsOptions: ChunkedBlobsOptions = {
  // One thread cuts; the others read meanwhile.
  cutsAtOnce: 4,
  // The lists of some 30 GiB of blobs. One that is forgotten is found again by cutting.
  rememberedBytesMax: 16 * 2 ** 20,
};

/** What a digest takes in memory, about. */
const digestBytes = 250;

/** A blob's chunks in order, and what cut them. */
export interface SplitBlob {
  readonly chunks: readonly Digest[];
  readonly chunking: ChunkingFunction;
}

/** A store that can keep a blob as the list of its chunks. */
export interface ComposingStore extends BlobStore {
  /**
   * Stores the blob that these chunks come to, which are in the store and have its size together. Fails
   * with INVALID_ARGUMENT, and stores nothing, when their bytes are not the blob's.
   */
  compose(digest: Digest, chunks: readonly Digest[], signal: AbortSignal): Promise<void>;
}

/** The blobs of one instance, as chunks that are blobs themselves. */
export class ChunkedBlobs {
  /** The first is used where a client does not say, or names another one. */
  readonly functions: readonly [ChunkingFunction, ...ChunkingFunction[]];
  readonly #blobs: ComposingStore;
  readonly #remembered: LruCache<readonly Digest[]>;
  readonly #cuts: Permits;

  constructor(
    blobs: ComposingStore,
    functions: readonly [ChunkingFunction, ...ChunkingFunction[]],
    options: ChunkedBlobsOptions = defaultChunkedBlobsOptions,
  ) {
    this.functions = functions;
    this.#blobs = blobs;
    this.#remembered = new LruCache(options.rememberedBytesMax);
    this.#cuts = new Permits(options.cutsAtOnce);
  }

  /**
   * The chunks of a blob, however it was uploaded; all are in the store when this resolves, and count as
   * used just now, as the blob does (CDC-02, CDC-03, CDC-06, CDC-10). The same blob has the same chunks
   * each time. Fails with NOT_FOUND when the blob is absent, with RESOURCE_EXHAUSTED when there is no room
   * for the chunks, or when there are more than `chunksMax` (CDC-13).
   */
  async split(
    digest: Digest,
    preferred: ChunkingFunction_Value,
    chunksMax: number,
    signal: AbortSignal,
  ): Promise<SplitBlob> {
    const chunking = this.functions.find(({ value }) => value === preferred) ?? this.functions[0];
    const key = `${chunking.value}/${digest.key}`;
    const isWhole = digest.sizeBytes <= chunking.wholeBytesMax;
    const whole = digest.sizeBytes === 0 ? [] : [digest];
    const find = () =>
      this.#findStored(digest, isWhole ? whole : this.#remembered.find(key), signal);
    let chunks = await find();
    chunks ??= await this.#cuts.hold(async () => {
      // Another call may have cut the blob while this one waited.
      const found = await find();
      if (found) return found;
      const cut = await this.#cut(digest, chunking, chunksMax, signal);
      this.#remembered.set(key, cut, cut.length * digestBytes);
      return cut;
    }, signal);
    return { chunks, chunking };
  }

  /**
   * Stores the blob that the chunks come to, unless it is there already; nothing of it can be seen before
   * all its bytes are found right (CDC-15, CDC-18, CDC-23). The chunks count as used just now. Fails with
   * INVALID_ARGUMENT when they come to another blob (CDC-21), with NOT_FOUND when one is absent (CDC-16).
   */
  async splice(digest: Digest, chunks: readonly Digest[], signal: AbortSignal): Promise<void> {
    const sizeBytes = chunks.reduce((sum, chunk) => sum + chunk.sizeBytes, 0);
    if (sizeBytes !== digest.sizeBytes) {
      throw new StatusError(
        Code.INVALID_ARGUMENT,
        `the chunks of ${digest} have ${sizeBytes} bytes together`,
      );
    }
    const missing = await this.#blobs.findMissing([digest, ...chunks], signal);
    if (!missing.some((absent) => absent.equals(digest))) return;
    const absent = missing.find((found) => !found.equals(digest));
    if (absent) throw blobNotFound(absent);
    await this.#blobs.compose(digest, chunks, signal);
  }

  /** The chunks, if they are known and all there; fails with NOT_FOUND when the blob is not. */
  async #findStored(
    digest: Digest,
    chunks: readonly Digest[] | undefined,
    signal: AbortSignal,
  ): Promise<readonly Digest[] | undefined> {
    const missing = await this.#blobs.findMissing([digest, ...(chunks ?? [])], signal);
    if (missing.some((absent) => absent.equals(digest))) throw blobNotFound(digest);
    return missing.length > 0 ? undefined : chunks;
  }

  async #cut(
    digest: Digest,
    chunking: ChunkingFunction,
    chunksMax: number,
    signal: AbortSignal,
  ): Promise<readonly Digest[]> {
    const chunks: Digest[] = [];
    const check = (count: number) => {
      if (count > chunksMax) throw tooManyChunks(digest, chunksMax);
    };
    // Before a store is filled with chunks in vain.
    check(digest.sizeBytes / chunking.averageBytes);
    const pieces = this.#blobs.read(digest, 0, signal);
    for await (const bytes of cutChunks(pieces, digest.sizeBytes, chunking)) {
      const chunk = Digest.ofBytes(digest.function, bytes);
      chunks.push(chunk);
      check(chunks.length);
      await this.#blobs.write(chunk, chunksOf(bytes), signal);
    }
    const [evicted] = await this.#blobs.findMissing([...chunks, digest], signal);
    if (!evicted) return chunks;
    throw new StatusError(
      Code.RESOURCE_EXHAUSTED,
      `there is no room for all chunks of ${digest} at once: ${evicted} had to go for others; ` +
        'read the blob whole, or give the store more space',
    );
  }
}

function tooManyChunks(digest: Digest, chunksMax: number): StatusError {
  return new StatusError(
    Code.RESOURCE_EXHAUSTED,
    `blob ${digest} has more than ${chunksMax} chunks, too many for one message; read it whole`,
  );
}
