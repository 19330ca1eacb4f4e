import { type Chunks, type SeekableChunks, seekable } from '../../base/chunks.ts';
import { concurrently } from '../../base/concurrently.ts';
import type { BlobStore } from '../../cas/blob-store.ts';
import { untilAborted } from '../../base/until-aborted.ts';
import type { ChunkingFunction } from '../../chunking/chunking-function.ts';
import { cutChunks } from '../../chunking/cut-chunks.ts';
import { Digest } from '../../digest/digest.ts';
import { findMissing } from './find-missing.ts';
import { ofSize } from './of-size.ts';
import { digestSizeBytes, type RemoteBlobs } from './remote-blobs.ts';
import { spliceBlob } from './splice-blob.ts';

/** All digests go in one message, for which every server takes 4 MiB; the rest is for the other fields. */
const DIGEST_LIST_BYTES_MAX = 4 * 2 ** 20 - 4096;

/** Hides the round trips of one blob; others are under way at the same time. */
const CHUNKS_AT_ONCE = 4;

/** A chunk that is evicted before the blob is made of it is sent once more; then the store is too small. */
const ROUNDS_MAX = 2;

interface Chunk {
  readonly digest: Digest;
  /** Where in the blob it begins. */
  readonly at: number;
}

/**
 * Stores a large blob by sending the chunks that the server lacks, with `write`, and having it put all of them
 * together (CDC-24). The source is read once to cut it, and once more where chunks are sent. False when the
 * server will not do it: then the blob must go whole. Fails with INVALID_ARGUMENT as a write does.
 */
export async function chunkedWrite(
  blobs: RemoteBlobs,
  chunking: ChunkingFunction,
  write: BlobStore['write'],
  { digest, chunks }: { readonly digest: Digest; readonly chunks: SeekableChunks },
  signal: AbortSignal,
): Promise<boolean> {
  const chunksMax = Math.floor(DIGEST_LIST_BYTES_MAX / digestSizeBytes(digest));
  if (digest.sizeBytes / chunking.averageBytes > chunksMax) return false;
  const cut = await cutAll(digest, chunks, chunking, signal);
  if (cut.length > chunksMax) return false;
  const digests = cut.map((chunk) => chunk.digest);
  const places = new Map(cut.map((chunk) => [chunk.digest.key, chunk.at]));
  for (let round = 0; round < ROUNDS_MAX; round++) {
    await concurrently(
      await findMissing(blobs, digests, signal),
      CHUNKS_AT_ONCE,
      (missing, either) => {
        const at = places.get(missing.key) as number;
        return write(missing, part(chunks, at, missing.sizeBytes), either);
      },
      signal,
    );
    const outcome = await spliceBlob(blobs, digest, digests, chunking, signal);
    if (outcome !== 'chunk missing') return outcome === 'stored';
  }
  return false;
}

async function cutAll(
  digest: Digest,
  chunks: SeekableChunks,
  chunking: ChunkingFunction,
  signal: AbortSignal,
): Promise<readonly Chunk[]> {
  const cut: Chunk[] = [];
  let at = 0;
  const pieces = ofSize(digest, untilAborted(chunks, signal), 0);
  for await (const bytes of cutChunks(pieces, digest.sizeBytes, chunking)) {
    cut.push({ digest: Digest.ofBytes(digest.function, bytes), at });
    at += bytes.length;
  }
  return cut;
}

/** So many bytes from a place on. */
function part(chunks: SeekableChunks, at: number, sizeBytes: number): SeekableChunks {
  return seekable(async function* from(offset): Chunks {
    let leftBytes = sizeBytes - offset;
    if (leftBytes === 0) return;
    for await (const chunk of chunks.from(at + offset)) {
      yield chunk.subarray(0, leftBytes);
      leftBytes -= chunk.length;
      if (leftBytes <= 0) return;
    }
  });
}
