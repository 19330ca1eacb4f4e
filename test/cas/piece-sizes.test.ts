import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chunksOf, collect } from '../../src/base/chunks.ts';
import type { BlobStore } from '../../src/cas/blob-store.ts';
import { MemoryBlobs } from '../../src/cas/memory-blobs.ts';
import { PieceSizes } from '../../src/cas/piece-sizes.ts';
import { blobOf } from '../support/blob-of.ts';
import { openFilesystemBlobs } from '../support/filesystem-blobs.ts';
import { never } from '../support/never.ts';

const blob = blobOf(Buffer.alloc(3_000_000, 'some bytes'));

async function firstPieceBytes(store: BlobStore): Promise<number> {
  for await (const piece of store.read(blob.digest, 0, never)) return piece.length;
  return 0;
}

for (const [what, open] of [
  ['files', openFilesystemBlobs],
  ['memory', async () => new MemoryBlobs({ sizeBytesMax: 2 ** 24 })],
] as const) {
  test(`hundreds of reads from ${what} that go no further hold little, and each can go on`, async (t) => {
    const store = (await open(t)).namespace('');
    await store.write(blob.digest, chunksOf(blob.bytes), never);
    assert.equal(await firstPieceBytes(store), 2 ** 20);

    const reads = Array.from({ length: 300 }, () => {
      const read = store.read(blob.digest, 0, never)[Symbol.asyncIterator]();
      t.after(() => read.return?.());
      return read;
    });
    let heldBytes = 0;
    for (const read of reads) heldBytes += (await read.next()).value?.length ?? 0;
    assert.ok(heldBytes < 120 * 2 ** 20, `${heldBytes} bytes`);
    assert.ok(Buffer.from(blob.bytes).equals(await collect(store.read(blob.digest, 0, never))));

    for (const read of reads) await read.return?.();
    assert.equal(await firstPieceBytes(store), 2 ** 20);
  });
}

test('pieces are of full size for as many reads as there is room for', () => {
  const sizes = new PieceSizes();
  const ends = Array.from({ length: 32 }, () => sizes.begin());
  assert.equal(sizes.bytes, 2 ** 20);
  ends.push(sizes.begin());
  assert.equal(sizes.bytes, Math.floor((32 * 2 ** 20) / 33));
  for (let n = 0; n < 10_000; n++) ends.push(sizes.begin());
  assert.equal(sizes.bytes, 128 * 1024);
  for (const end of ends) end();
  assert.equal(sizes.bytes, 2 ** 20);
});
