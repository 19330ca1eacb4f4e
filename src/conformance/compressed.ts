import {
  brotliCompressSync,
  brotliDecompressSync,
  deflateRawSync,
  inflateRawSync,
  zstdCompressSync,
  zstdDecompressSync,
} from 'node:zlib';
import type { Compressor } from '../digest/resource-name.ts';
import { Failure } from './expect.ts';

type Packing = Exclude<Compressor, 'identity'>;

/** What a server may make of a few MiB, so that nothing it sends fills this machine's memory. */
const OUTPUT_BYTES_MAX = 64 * 2 ** 20;

export function packed(compressor: Compressor, bytes: Uint8Array): Buffer {
  if (compressor === 'identity') return Buffer.from(bytes);
  return { zstd: zstdCompressSync, deflate: deflateRawSync, brotli: brotliCompressSync }[
    compressor
  ](bytes);
}

/** Fails when the bytes are not one whole compressed stream. */
export function unpacked(compressor: Compressor, bytes: Uint8Array): Uint8Array {
  if (compressor === 'identity') return bytes;
  const unpack = unpackers[compressor];
  try {
    return unpack(bytes, { maxOutputLength: OUTPUT_BYTES_MAX });
  } catch (thrown) {
    throw new Failure(`a whole ${compressor} stream`, (thrown as Error).message);
  }
}

const unpackers: Readonly<
  Record<Packing, (bytes: Uint8Array, options: { maxOutputLength: number }) => Buffer>
> = { zstd: zstdDecompressSync, deflate: inflateRawSync, brotli: brotliDecompressSync };
