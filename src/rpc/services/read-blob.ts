import type { Chunks } from '../../base/chunks.ts';
import { Code, StatusError } from '../../base/status.ts';
import type { ReadRequest, ReadResponse } from '../../proto/google/bytestream/bytestream.ts';
import { compress } from '../compression.ts';
import type { Call } from '../method.ts';
import type { NamedBlob } from '../named-blob.ts';

/** A quarter of what clients take in one message (BS-18). */
const PIECE_BYTES_MAX = 2 ** 20;

/** The bytes from `read_offset`, which counts uncompressed ones also for compressed names (BS-14). */
export async function* readBlob(
  { instance, digest, codec, resourceName }: NamedBlob,
  { readOffset, readLimit }: ReadRequest,
  { signal }: Call,
): AsyncIterable<ReadResponse> {
  if (readLimit < 0) {
    throw new StatusError(Code.INVALID_ARGUMENT, `read_limit ${readLimit} is negative`);
  }
  if (readLimit > 0 && codec) {
    throw new StatusError(
      Code.INVALID_ARGUMENT,
      `read_limit must be 0 for a compressed resource, such as ${resourceName}`,
    );
  }
  const bytes = instance.blobs.read(digest, readOffset, signal);
  // An offset that is out of range fails in the read.
  const leftBytes = Math.max(0, digest.sizeBytes - readOffset);
  const sent = codec ? compress(codec, bytes, leftBytes) : limited(bytes, readLimit);
  for await (const chunk of sent) {
    for (let at = 0; at < chunk.length; at += PIECE_BYTES_MAX) {
      yield { data: chunk.subarray(at, at + PIECE_BYTES_MAX) };
    }
  }
}

/** At most `limitBytes` of the chunks; all of them when it is 0 (BS-13). */
async function* limited(chunks: Chunks, limitBytes: number): Chunks {
  if (limitBytes === 0) {
    yield* chunks;
    return;
  }
  let left = limitBytes;
  for await (const chunk of chunks) {
    yield chunk.subarray(0, left);
    left -= chunk.length;
    if (left <= 0) return;
  }
}
