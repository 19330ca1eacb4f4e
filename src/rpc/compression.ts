import { pipeline, type Transform } from 'node:stream';
import {
  type BrotliDecompress,
  constants,
  brotliCompressSync,
  brotliDecompressSync,
  createBrotliCompress,
  createBrotliDecompress,
  createDeflateRaw,
  createInflateRaw,
  createZstdCompress,
  createZstdDecompress,
  deflateRawSync,
  type InflateRaw,
  inflateRawSync,
  type ZstdDecompress,
  zstdCompressSync,
  zstdDecompressSync,
} from 'node:zlib';
import { type Chunks, chunksOf, collect } from '../base/chunks.ts';
import { HeldMemory } from '../base/memory.ts';
import { Code, StatusError } from '../base/status.ts';
import type { Compressor } from '../digest/resource-name.ts';
import { Compressor_Value } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { windowLogMax, zstdWindowBytes } from './zstd-window.ts';

/** A way to pack the bytes of a blob for the wire, and to unpack them. */
export interface Codec {
  /** Its number on the wire. */
  readonly value: Compressor_Value;
  /** The segment in resource names; messages call its streams so too. */
  readonly name: Exclude<Compressor, 'identity'>;
  /** For exactly `sizeBytes` bytes. */
  readonly createCompressor: (sizeBytes: number) => Transform;
  /** What one takes for a large blob: measured. */
  readonly compressorBytes: number;
  /** All at once, which takes a quarter of the time of a stream for some KiB. */
  readonly compressNow: (data: Uint8Array) => Uint8Array;
  /** Fails when more than `sizeBytesMax` bytes come out. */
  readonly decompressNow: (data: Uint8Array, sizeBytesMax: number) => Uint8Array;
  /** What unpacking a stream takes, by its first bytes: how far back it may refer. */
  readonly windowBytesOf: (first: Uint8Array) => number;
  /** For a stream whose first bytes tell such a window. */
  readonly createDecompressor: (
    windowBytes: number,
  ) => ZstdDecompress | InflateRaw | BrotliDecompress;
}

/** Small enough for a message, large enough that a blob is not a thousand of them. */
const PIECE_BYTES = 256 * 1024;

const zstdOptions = (sizeBytes: number) => ({
  // Hundreds of small blobs are packed at once.
  chunkSize: Math.min(PIECE_BYTES, Math.max(1024, sizeBytes)),
  // Knowing it takes an eighth of the time for a blob of 1 KiB: the tables are as small as the blob.
  pledgedSrcSize: sizeBytes,
  // Halves objects and debug information; the next levels take twice the time for a few percent.
  params: { [constants.ZSTD_c_compressionLevel]: 3 },
});

/** That of zstd's usual levels. */
const USUAL_WINDOW_BYTES = 2 ** 21;

/** The format lets a client ask for more memory than a machine has (CMP-05). */
const zstdWindow = (log: number) => ({ [constants.ZSTD_d_windowLogMax]: log });

/**
 * All but the best levels have smaller windows: later frames may have as much whatever the first one says, which
 * is four times what is counted at worst.
 */
const LATER_WINDOW_LOG = 23;

const zstd: Codec = {
  value: Compressor_Value.ZSTD,
  name: 'zstd',
  createCompressor: (sizeBytes) => createZstdCompress(zstdOptions(sizeBytes)),
  compressorBytes: 2.5 * 2 ** 20,
  compressNow: (data) => zstdCompressSync(data, zstdOptions(data.length)),
  decompressNow: (data, maxOutputLength) =>
    zstdDecompressSync(data, { maxOutputLength, params: zstdWindow(windowLogMax) }),
  windowBytesOf: (first) => Math.max(USUAL_WINDOW_BYTES, zstdWindowBytes(first)),
  createDecompressor: (windowBytes) => {
    const log = Math.max(LATER_WINDOW_LOG, Math.ceil(Math.log2(windowBytes)));
    const params = zstdWindow(Math.min(log, windowLogMax));
    return createZstdDecompress({ chunkSize: PIECE_BYTES, params });
  },
};

const brotliOptions = {
  // As fast as zstd's level 3, and packs as well; the default, 11, takes a hundred times as long.
  [constants.BROTLI_PARAM_QUALITY]: 2,
  // A quarter of the memory that the default, 22, takes, for 0.1 % more bytes.
  [constants.BROTLI_PARAM_LGWIN]: 20,
};

const brotli: Codec = {
  value: Compressor_Value.BROTLI,
  name: 'brotli',
  createCompressor: () => createBrotliCompress({ chunkSize: PIECE_BYTES, params: brotliOptions }),
  compressorBytes: 2.1 * 2 ** 20,
  compressNow: (data) => brotliCompressSync(data, { params: brotliOptions }),
  decompressNow: (data, maxOutputLength) => brotliDecompressSync(data, { maxOutputLength }),
  // Since larger ones must be asked for here.
  windowBytesOf: () => 2 ** 24,
  createDecompressor: () => createBrotliDecompress({ chunkSize: PIECE_BYTES }),
};

// Twice as fast as the default, 6, for 5 % more bytes.
const deflateLevel = 4;

/** The raw stream of RFC 1951, without the wrapper of zlib or gzip (CMP-03). */
const deflate: Codec = {
  value: Compressor_Value.DEFLATE,
  name: 'deflate',
  createCompressor: () => createDeflateRaw({ chunkSize: PIECE_BYTES, level: deflateLevel }),
  compressorBytes: 0.3 * 2 ** 20,
  compressNow: (data) => deflateRawSync(data, { level: deflateLevel }),
  decompressNow: (data, maxOutputLength) => inflateRawSync(data, { maxOutputLength }),
  windowBytesOf: () => 2 ** 15,
  createDecompressor: () => createInflateRaw({ chunkSize: PIECE_BYTES }),
};

/** By the segment in resource names; the best one first, which is the one that Siso takes (CMP-11). */
const codecs: Readonly<Record<Codec['name'], Codec>> = { zstd, brotli, deflate };

/** What ByteStream, BatchUpdateBlobs and BatchReadBlobs do, in the order to announce it (CAP-14). */
export const supportedCodecs: readonly Codec[] = Object.values(codecs);

/** Undefined for a name without a compressor. */
export function codecOfName(compressor: Compressor): Codec | undefined {
  return compressor === 'identity' ? undefined : codecs[compressor];
}

/**
 * The chunks, which are `sizeBytes` long together, as one complete stream, a single frame in zstd; nothing
 * becomes one too (BS-17). What that takes counts as memory that is held, and fails as that does: a reader
 * that stops holds it.
 */
export async function* compress(codec: Codec, chunks: Chunks, sizeBytes: number): Chunks {
  const held = new HeldMemory();
  try {
    held.add(Math.min(codec.compressorBytes, PIECE_BYTES + 3 * sizeBytes));
    const compressor = codec.createCompressor(sizeBytes);
    // A failure comes out of the compressor too.
    pipeline(chunks, compressor, () => {});
    yield* compressor as AsyncIterable<Buffer>;
  } finally {
    held.close();
  }
}

/** Packing takes 0.1 ms at least, which saves nobody anything for less. */
const PACKED_BYTES_MIN = 1024;

/** Packed at once, for 0.3 ms at most; more would hold up everything else. */
const PACKED_NOW_BYTES_MAX = 64 * 1024;

/** The bytes of one blob as a batch carries them. */
export interface Packed {
  readonly data: Uint8Array;
  readonly compressor: Compressor_Value;
}

/** The bytes, compressed if there is a codec and it makes them fewer. */
export async function packed(data: Uint8Array, codec: Codec | undefined): Promise<Packed> {
  if (codec && data.length >= PACKED_BYTES_MIN) {
    const shorter =
      data.length <= PACKED_NOW_BYTES_MAX
        ? codec.compressNow(data)
        : await collect(compress(codec, chunksOf(data), data.length));
    if (shorter.length < data.length) return { data: shorter, compressor: codec.value };
  }
  return { data, compressor: Compressor_Value.IDENTITY };
}

/**
 * What the stream holds; in zstd it may be several frames, with skippable ones between them (CMP-04).
 * Fails with `flawCode` when it is malformed or cut short, or bytes follow it (CMP-07). Memory does
 * not grow with what comes out: whoever takes it must stop at the size that the digest promises (CMP-05).
 * That is `sizeBytes`; what unpacking takes up to it counts as memory that is held, and fails as that does.
 */
export async function* decompress(
  codec: Codec,
  chunks: Chunks,
  sizeBytes: number,
  flawCode: Code = Code.INVALID_ARGUMENT,
): Chunks {
  const source = { bytes: 0, failed: false };
  const pieces = watched(chunks, source);
  const held = new HeldMemory();
  try {
    const { value: first = new Uint8Array() } = await pieces.next();
    const windowBytes = codec.windowBytesOf(first);
    held.add(Math.min(windowBytes, sizeBytes));
    const decompressor = codec.createDecompressor(windowBytes);
    pipeline(following(first, pieces), decompressor, () => {});
    try {
      yield* decompressor as AsyncIterable<Buffer>;
    } catch (thrown) {
      if (source.failed || !(thrown instanceof Error)) throw thrown;
      throw new StatusError(flawCode, `not a whole ${codec.name} stream: ${thrown.message}`, {
        cause: thrown,
      });
    }
    // The decompressor takes no byte after the end of its stream, and says nothing of it.
    if (decompressor.bytesWritten < source.bytes) {
      throw new StatusError(flawCode, `bytes follow the end of the ${codec.name} stream`);
    }
  } finally {
    held.close();
    // Not awaited: a source that hangs would hang here too.
    pieces.return(undefined).catch(() => {});
  }
}

async function* following(first: Uint8Array, rest: Chunks): Chunks {
  if (first.length > 0) yield first;
  yield* rest;
}

async function* watched(
  chunks: Chunks,
  source: { bytes: number; failed: boolean },
): AsyncGenerator<Uint8Array, undefined> {
  try {
    for await (const chunk of chunks) {
      source.bytes += chunk.length;
      yield chunk;
    }
  } catch (thrown) {
    source.failed = true;
    throw thrown;
  }
  return undefined;
}
