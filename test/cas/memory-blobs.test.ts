import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chunksOf, collect } from '../../src/base/chunks.ts';
import { Code } from '../../src/base/status.ts';
import { MemoryBlobs } from '../../src/cas/memory-blobs.ts';
import { blobStoreContract } from '../contract/blob-store.ts';
import { type Blob, blobOf } from '../support/blob-of.ts';
import { never } from '../support/never.ts';
import { gatedChunks, hanging, untouched } from '../support/sources.ts';

blobStoreContract('MemoryBlobs', () =>
  new MemoryBlobs({ sizeBytesMax: 64 * 2 ** 20 }).namespace(''),
);

const kilobyte = (n: number): Blob => blobOf(Buffer.alloc(1000, n));

/** Room for three blobs of a kilobyte. */
const small = () => new MemoryBlobs({ sizeBytesMax: 4000 });

test('evicts the least recently used blob first', async () => {
  const blobs = small();
  const store = blobs.namespace('');
  const [a, b, c, d] = [1, 2, 3, 4].map(kilobyte) as [Blob, Blob, Blob, Blob];
  for (const { digest, bytes } of [a, b, c]) await store.write(digest, chunksOf(bytes), never);
  await store.findMissing([a.digest], never);
  await collect(store.read(b.digest, 0, never));
  await store.write(d.digest, chunksOf(d.bytes), never);
  const all = [a, b, c, d].map(({ digest }) => digest);
  assert.deepEqual(await store.findMissing(all, never), [c.digest]);
  assert.equal(blobs.stats().evictedBlobs, 1);
  assert.equal(blobs.stats().blobs, 3);
});

test('CAS-61: does not evict what is being read', async () => {
  const store = small().namespace('');
  const [a, b] = [kilobyte(1), blobOf(Buffer.alloc(3500))];
  await store.write(a.digest, chunksOf(a.bytes), never);
  const read = store.read(a.digest, 0, never)[Symbol.asyncIterator]();
  await read.next();
  await assert.rejects(store.write(b.digest, chunksOf(b.bytes), never), {
    code: Code.RESOURCE_EXHAUSTED,
  });
  await read.return?.();
  await store.write(b.digest, chunksOf(b.bytes), never);
  assert.deepEqual(await store.findMissing([a.digest], never), [a.digest]);
});

test('refuses a blob that can never fit before its first byte, and evicts nothing for it', async () => {
  const store = small().namespace('');
  const [a, big] = [kilobyte(1), blobOf(Buffer.alloc(5000))];
  await store.write(a.digest, chunksOf(a.bytes), never);
  await assert.rejects(store.write(big.digest, untouched(), never), {
    code: Code.RESOURCE_EXHAUSTED,
    message: /max_size = 4000/,
  });
  assert.deepEqual(await store.findMissing([a.digest], never), []);
});

test('CAS-04, CAS-60: uploads evict for what arrives, not for what they announce, and nothing if they are refused', async () => {
  const store = small().namespace('');
  const [a, first, second] = [
    kilobyte(1),
    blobOf(Buffer.alloc(3000, 1)),
    blobOf(Buffer.alloc(3000, 2)),
  ];
  await store.write(a.digest, chunksOf(a.bytes), never);
  const source = gatedChunks();
  const writing = store.write(first.digest, source.chunks, never);
  await source.push(first.bytes.subarray(0, 1000));
  await assert.rejects(store.write(second.digest, untouched(), never), {
    code: Code.RESOURCE_EXHAUSTED,
  });
  assert.deepEqual(await store.findMissing([a.digest], never), []);
  await source.push(first.bytes.subarray(1000));
  source.end();
  await writing;
  assert.deepEqual(await store.findMissing([a.digest, first.digest], never), [a.digest]);
});

test('counts uploads under way against the budget, and gives it back when they fail', async () => {
  const blobs = small();
  const store = blobs.namespace('');
  const aborting = new AbortController();
  const big = blobOf(Buffer.alloc(3000));
  const waiting = store.write(big.digest, hanging(), aborting.signal);
  const other = kilobyte(1);
  await assert.rejects(store.write(other.digest, chunksOf(other.bytes), never), {
    code: Code.RESOURCE_EXHAUSTED,
  });
  aborting.abort();
  await assert.rejects(waiting);
  assert.equal(blobs.stats().usedBytes, 0);
  await store.write(other.digest, chunksOf(other.bytes), never);
});

test('keeps the blobs of instances apart, within one budget', async () => {
  const blobs = small();
  const [main, side] = [blobs.namespace('main'), blobs.namespace('side')];
  const a = kilobyte(1);
  await main.write(a.digest, chunksOf(a.bytes), never);
  assert.deepEqual(await side.findMissing([a.digest], never), [a.digest]);
  for (const { digest, bytes } of [2, 3, 4].map(kilobyte)) {
    await side.write(digest, chunksOf(bytes), never);
  }
  assert.deepEqual(await main.findMissing([a.digest], never), [a.digest]);
});
