import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { constants, zstdCompressSync } from 'node:zlib';
import { type Chunks, chunksOf, collect } from '../../src/base/chunks.ts';
import { heapBytesMax } from '../../src/base/memory.ts';
import { Code, StatusError } from '../../src/base/status.ts';
import { codecOfName, decompress } from '../../src/rpc/compression.ts';
import { windowLogMax, zstdWindowBytes } from '../../src/rpc/zstd-window.ts';

const MIB = 2 ** 20;
const zstd = codecOfName('zstd') ?? assert.fail();

/** A frame that asks for a window of so many bytes and holds so many blocks of 128 KiB of one letter. */
function frameOf(windowLog: number, blocks: number): Buffer {
  const head = Buffer.of(0x28, 0xb5, 0x2f, 0xfd, 0, (windowLog - 10) << 3);
  const all = Array.from({ length: blocks }, (_, n) => {
    const block = Buffer.alloc(4, 'A');
    const isLast = n === blocks - 1 ? 1 : 0;
    block.writeUIntLE((131_072 << 3) | 2 | isLast, 0, 3);
    return block;
  });
  return Buffer.concat([head, ...all]);
}

for (const [what, bytes, windowBytes] of [
  ['of a size that is said', frameOf(20, 1), MIB],
  ['of the most that is taken', frameOf(25, 1), 32 * MIB],
  ['of more', frameOf(31, 1), 2048 * MIB],
  ['of an eighth more', Buffer.of(0x28, 0xb5, 0x2f, 0xfd, 0, (10 << 3) | 1), MIB + MIB / 8],
  ['of a whole blob of 10 bytes', zstdCompressSync(Buffer.alloc(10)), 10],
  ['of a whole blob of 300 bytes', zstdCompressSync(Buffer.alloc(300)), 300],
  ['of a whole blob of 100,000 bytes', zstdCompressSync(Buffer.alloc(100_000)), 100_000],
  ['after a skippable frame', Buffer.of(0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0), 2 ** windowLogMax],
  ['of nothing', Buffer.of(), 2 ** windowLogMax],
  ['of a header that is cut short', frameOf(20, 1).subarray(0, 5), 2 ** windowLogMax],
] as const) {
  test(`the window of a zstd stream ${what}`, () => {
    assert.equal(zstdWindowBytes(bytes), windowBytes);
  });
}

/** So many uploads, of each of which the first bytes are taken. */
async function begin(t: TestContext, count: number, frame: Buffer, sizeBytes: number) {
  const uploads = Array.from({ length: count }, () =>
    decompress(zstd, chunksOf(frame), sizeBytes)[Symbol.asyncIterator](),
  );
  t.after(() => Promise.all(uploads.map(async (upload) => upload.return?.())));
  const begun = await Promise.allSettled(uploads.map((upload) => upload.next()));
  const failed = begun.flatMap((one) => (one.status === 'rejected' ? [one.reason as unknown] : []));
  return { uploads, failed: failed.map((error) => StatusError.from(error).code) };
}

test('CMP-05: windows of many streams take no more memory than there is, and give it back', async (t) => {
  const fitting = Math.floor(heapBytesMax / 3 / (32 * MIB));
  const large = await begin(t, fitting + 2, frameOf(25, 400), 50 * MIB);
  assert.deepEqual(new Set(large.failed), new Set([Code.UNAVAILABLE]));
  assert.ok(large.failed.length >= 1 && large.failed.length <= 3, `${large.failed.length} refused`);
  for (const upload of large.uploads) await upload.return?.();
  // What is small, or refers to what is near, takes little.
  const small = await begin(t, fitting + 2, frameOf(25, 1), 131_072);
  const near = await begin(t, fitting + 2, frameOf(20, 400), 50 * MIB);
  assert.deepEqual([small.failed, near.failed], [[], []]);
});

test('CMP-04: frames of other windows than the first one are taken', async () => {
  const frames = [frameOf(17, 1), frameOf(23, 2), zstdCompressSync(Buffer.alloc(1000, 'A'))];
  const level = { [constants.ZSTD_c_compressionLevel]: 19 };
  frames.push(zstdCompressSync(Buffer.alloc(500_000, 'A'), { params: level }));
  const sizeBytes = 3 * 131_072 + 1000 + 500_000;
  const bytes = await collect(decompress(zstd, piecesOf(Buffer.concat(frames)), sizeBytes));
  assert.ok(Buffer.alloc(sizeBytes, 'A').equals(bytes));
});

async function* piecesOf(bytes: Buffer): Chunks {
  for (let at = 0; at < bytes.length; at += 7) yield bytes.subarray(at, at + 7);
}
