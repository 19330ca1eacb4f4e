import {
  brotliCompressSync,
  brotliDecompressSync,
  constants,
  deflateRawSync,
  inflateRawSync,
  zstdCompressSync,
  zstdDecompressSync,
} from 'node:zlib';
import type { Compressor } from '../../src/digest/resource-name.ts';
import { Compressor_Value } from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';

/** How a client packs and unpacks. */
interface Packing {
  readonly compressor: Compressor;
  readonly value: Compressor_Value;
  readonly pack: (bytes: Uint8Array) => Buffer;
  readonly unpack: (bytes: Uint8Array) => Buffer;
}

/** Every compressor of the API, but for the one that leaves bytes as they are. */
export const packings: readonly Packing[] = [
  {
    compressor: 'zstd',
    value: Compressor_Value.ZSTD,
    pack: (bytes) => zstdCompressSync(bytes),
    unpack: (bytes) => zstdDecompressSync(bytes),
  },
  {
    compressor: 'deflate',
    value: Compressor_Value.DEFLATE,
    pack: (bytes) => deflateRawSync(bytes),
    unpack: (bytes) => inflateRawSync(bytes),
  },
  {
    compressor: 'brotli',
    value: Compressor_Value.BROTLI,
    // The default quality takes seconds for the large blobs of tests.
    pack: (bytes) => brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } }),
    unpack: (bytes) => brotliDecompressSync(bytes),
  },
];
