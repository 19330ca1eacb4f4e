// What it would cost and save if blobs rested compressed: node scripts/bench/resting-compressed.ts FILE...
//
// Each file is a blob. For each way to keep it: the size on disk, and the processor time of an upload and
// of a download, in bytes as they are and in zstd, with the hash that both must make anyway. The steps of
// the ways take turns, best of five. No disk and no network: they are the same for all but in bytes.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';

const files = process.argv.slice(2);
if (files.length === 0) throw new Error('give it files: objects, archives, executables of a build');
const blobs = files.map((file) => readFileSync(file));
const sizeBytes = total(blobs);

/** The level that ByteStream's zstd uses: zlib's default for zstd. */
const zstd = (blob: Uint8Array) =>
  zstdCompressSync(blob, { params: { [constants.ZSTD_c_compressionLevel]: 3 } });
const packed = blobs.map(zstd);
const sha256 = (blob: Uint8Array) => createHash('sha256').update(blob).digest();

const steps = {
  hash: () => blobs.forEach(sha256),
  compress: () => blobs.forEach(zstd),
  decompress: () => packed.forEach((blob) => zstdDecompressSync(blob)),
};
const bestMs = { hash: Infinity, compress: Infinity, decompress: Infinity };
for (let round = 0; round < 5; round++)
  for (const [name, step] of Object.entries(steps)) {
    const startedAt = performance.now();
    step();
    const tookMs = performance.now() - startedAt;
    bestMs[name as keyof typeof bestMs] = Math.min(bestMs[name as keyof typeof bestMs], tookMs);
  }

const { hash, compress, decompress } = bestMs;
const ways = [
  ['write, identity', hash, hash + compress],
  ['write, zstd', decompress + hash, decompress + hash],
  ['read, identity', hash, decompress + hash],
  ['read, zstd', hash + compress, decompress + hash],
] as const;

const share = total(packed) / sizeBytes;
console.log(
  `${blobs.length} blobs of ${(sizeBytes / 1e6).toFixed(0)} MB; in zstd ${percent(share)}\n`,
);
console.log('| call | as they are, ms per MB | compressed | ratio |');
console.log('| --- | --- | --- | --- |');
for (const [call, asIs, compressed] of ways) {
  const cells = [perMB(asIs), perMB(compressed), `${(compressed / asIs).toFixed(2)}×`];
  console.log(`| ${call} | ${cells.join(' | ')} |`);
}

function total(buffers: readonly Uint8Array[]): number {
  return buffers.reduce((sum, buffer) => sum + buffer.length, 0);
}

function perMB(tookMs: number): string {
  return ((tookMs / sizeBytes) * 1e6).toFixed(2);
}

function percent(part: number): string {
  return `${(part * 100).toFixed(0)} %`;
}
