import { type Chunks, chunksOf, isSeekable } from '../../base/chunks.ts';
import type { NewId } from '../../base/id.ts';
import { Permits } from '../../base/permits.ts';
import { Code, StatusError } from '../../base/status.ts';
import { checkReadOffset } from '../../cas/blob-errors.ts';
import type { BlobStore } from '../../cas/blob-store.ts';
import { untilAborted } from '../../base/until-aborted.ts';
import { UploadCheck } from '../../cas/upload-check.ts';
import { withEmptyBlob } from '../../cas/with-empty-blob.ts';
import type { Digest } from '../../digest/digest.ts';
import { packed } from '../compression.ts';
import { batchRead } from './batch-read.ts';
import { batchUpdate, type SmallBlob } from './batch-update.ts';
import { Batches } from './batches.ts';
import { findMissing } from './find-missing.ts';
import { chunkedWrite } from './chunked-write.ts';
import { digestSizeBytes, type RemoteBlobs } from './remote-blobs.ts';
import { isTransient, withRetries } from './retries.ts';
import { streamRead } from './stream-read.ts';
import { streamWrite } from './stream-write.ts';

export interface RemoteBlobStoreOptions {
  /** Blobs up to here go with others in one call; a call of its own costs about as much as 256 KiB. */
  readonly smallSizeBytesMax: number;
  /** Blobs in one batch, lest the bookkeeping of tiny ones holds up the server. */
  readonly batchItemsMax: number;
  /** Batches under way at once, each of up to 4 MiB, for reading and again for writing. */
  readonly batchesUnderWayMax: number;
  /** Blobs written in chunks at once: each holds some 10 MiB, and one thread cuts them all. */
  readonly chunkedWritesMax: number;
}

const defaultRemoteBlobStoreOptions: RemoteBlobStoreOptions = {
  smallSizeBytesMax: 256 * 2 ** 10,
  batchItemsMax: 2000,
  batchesUnderWayMax: 4,
  chunkedWritesMax: 4,
};

/** Room for the status and the tags of one blob in a batch, beside its digest and bytes. */
const ITEM_OVERHEAD_BYTES = 32;

/**
 * The blobs of an instance behind a server. Small ones that are asked for in the same turn of the event
 * loop share a call. The empty blob is never sent or asked for (CLI-04).
 */
export function remoteBlobStore(
  blobs: RemoteBlobs,
  newId: NewId,
  options: RemoteBlobStoreOptions = defaultRemoteBlobStoreOptions,
): BlobStore {
  return withEmptyBlob(new RemoteBlobStore(blobs, newId, options));
}

class RemoteBlobStore implements BlobStore {
  readonly #blobs: RemoteBlobs;
  readonly #newId: NewId;
  readonly #smallSizeBytesMax: number;
  readonly #reads: Batches<Digest, Uint8Array>;
  readonly #writes: Batches<SmallBlob, 'stored'>;
  readonly #chunkedWrites: Permits;

  constructor(blobs: RemoteBlobs, newId: NewId, options: RemoteBlobStoreOptions) {
    const { batchSizeBytesMax } = blobs.limits;
    const common = {
      sizeBytesMax: batchSizeBytesMax,
      itemsMax: options.batchItemsMax,
      underWayMax: options.batchesUnderWayMax,
    };
    this.#blobs = blobs;
    this.#newId = newId;
    this.#smallSizeBytesMax = Math.min(options.smallSizeBytesMax, batchSizeBytesMax);
    this.#chunkedWrites = new Permits(options.chunkedWritesMax);
    this.#reads = new Batches({
      ...common,
      send: (digests, signal) => batchRead(blobs, digests, signal),
      sizeBytesOf: roomFor,
    });
    this.#writes = new Batches({
      ...common,
      send: (items, signal) => batchUpdate(blobs, items, signal),
      sizeBytesOf: ({ digest }) => roomFor(digest),
    });
  }

  async findMissing(digests: readonly Digest[], signal: AbortSignal): Promise<Digest[]> {
    return findMissing(this.#blobs, digests, signal);
  }

  async *read(digest: Digest, offset: number, signal: AbortSignal): Chunks {
    checkReadOffset(digest, offset);
    yield* digest.sizeBytes > this.#smallSizeBytesMax
      ? streamRead(this.#blobs, digest, offset, signal)
      : chunksOf((await this.#readSmall(digest, signal)).subarray(offset));
  }

  async write(digest: Digest, chunks: Chunks, signal: AbortSignal): Promise<void> {
    const { limits, uploadChunking } = this.#blobs;
    if (digest.sizeBytes > limits.blobSizeBytesMax) {
      throw new StatusError(
        Code.INVALID_ARGUMENT,
        `blob ${digest} is larger than the ${limits.blobSizeBytesMax} bytes that the server takes`,
      );
    }
    // It pays for what is large, and the API wants the others whole (CDC-33).
    const wholeBytesMax = Math.max(uploadChunking?.wholeBytesMax ?? 0, this.#smallSizeBytesMax);
    if (uploadChunking && digest.sizeBytes > wholeBytesMax && isSeekable(chunks)) {
      const write: BlobStore['write'] = (...chunk) => this.#writeWhole(...chunk);
      const blob = { digest, chunks };
      const writeChunks = () => chunkedWrite(this.#blobs, uploadChunking, write, blob, signal);
      if (await this.#chunkedWrites.hold(writeChunks, signal)) return;
    }
    await this.#writeWhole(digest, chunks, signal);
  }

  async #writeWhole(digest: Digest, chunks: Chunks, signal: AbortSignal): Promise<void> {
    const { channel, codecs } = this.#blobs;
    if (digest.sizeBytes > this.#smallSizeBytesMax) {
      return streamWrite(this.#blobs, digest, chunks, this.#newId(), signal);
    }
    const bytes = await collectChecked(digest, chunks, signal);
    const blob = { digest, ...(await packed(bytes, codecs.batches)) };
    await withRetries(channel.retries, () => this.#writes.add(blob, signal), signal);
  }

  #readSmall(digest: Digest, signal: AbortSignal): Promise<Uint8Array> {
    return withRetries(
      this.#blobs.channel.retries,
      () => this.#reads.add(digest, signal),
      signal,
      // Other bytes may be a fault on the way: ask again a few times (CLI-07).
      (error) => isTransient(error) || error.code === Code.DATA_LOSS,
    );
  }
}

function roomFor(digest: Digest): number {
  return digest.sizeBytes + digestSizeBytes(digest) + ITEM_OVERHEAD_BYTES;
}

/** The bytes of a small blob; INVALID_ARGUMENT when they are not the digest's. */
async function collectChecked(
  digest: Digest,
  chunks: Chunks,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const check = new UploadCheck(digest);
  const parts: Uint8Array[] = [];
  for await (const chunk of untilAborted(chunks, signal)) {
    check.update(chunk);
    parts.push(chunk);
  }
  check.finish();
  return parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
}
