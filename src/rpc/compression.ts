import { pipeline } from 'node:stream';
import { constants, createZstdCompress, createZstdDecompress } from 'node:zlib';
import type { Chunks } from '../base/chunks.ts';
import { Code, StatusError } from '../base/status.ts';
import { Compressor_Value } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';

/** What ByteStream and BatchUpdateBlobs take; Siso uses the first one only (CMP-11). */
export const supportedCompressors: readonly Compressor_Value[] = [Compressor_Value.ZSTD];

/** Level 3 halves objects and debug information; the next ones take twice the time for a few percent. */
const LEVEL = 3;
/** Go's best level asks for it; the format lets a client ask for more memory than a machine has (CMP-05). */
const WINDOW_LOG_MAX = 25;
/** Small enough for a message, large enough that a blob is not a thousand of them. */
const PIECE_BYTES = 256 * 1024;

/** The bytes as one complete zstd frame; an empty blob has one too (BS-17). */
export async function* compress(chunks: Chunks): Chunks {
  const params = { [constants.ZSTD_c_compressionLevel]: LEVEL };
  const compressor = createZstdCompress({ chunkSize: PIECE_BYTES, params });
  // A failure comes out of the compressor too.
  pipeline(chunks, compressor, () => {});
  yield* compressor as AsyncIterable<Buffer>;
}

/**
 * What the zstd frames hold, one after the other, with skippable ones between them (CMP-04). Fails with
 * INVALID_ARGUMENT when they are malformed or cut short, or bytes follow them (CMP-07). Memory does not
 * grow with what comes out: whoever takes it must stop at the size that the digest promises (CMP-05).
 */
export async function* decompress(chunks: Chunks): Chunks {
  const params = { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG_MAX };
  const decompressor = createZstdDecompress({ chunkSize: PIECE_BYTES, params });
  const source = { bytes: 0, failed: false };
  pipeline(watched(chunks, source), decompressor, () => {});
  try {
    yield* decompressor as AsyncIterable<Buffer>;
  } catch (thrown) {
    if (source.failed || !(thrown instanceof Error)) throw thrown;
    throw new StatusError(Code.INVALID_ARGUMENT, `not a whole zstd stream: ${thrown.message}`, {
      cause: thrown,
    });
  }
  // The decompressor takes no byte after the last frame, and says nothing of it.
  if (decompressor.bytesWritten < source.bytes) {
    throw new StatusError(Code.INVALID_ARGUMENT, 'bytes follow the last zstd frame');
  }
}

async function* watched(chunks: Chunks, source: { bytes: number; failed: boolean }): Chunks {
  try {
    for await (const chunk of chunks) {
      source.bytes += chunk.length;
      yield chunk;
    }
  } catch (thrown) {
    source.failed = true;
    throw thrown;
  }
}
