import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { chunksOf } from '../../src/base/chunks.ts';
import { Code } from '../../src/base/status.ts';
import { MemoryBlobs } from '../../src/cas/memory-blobs.ts';
import { ResumableUploads } from '../../src/cas/resumable-uploads.ts';
import type { Digest } from '../../src/digest/digest.ts';
import { blobOf } from '../support/blob-of.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { readText } from '../support/filesystem-blobs.ts';
import { never } from '../support/never.ts';

const { digest } = blobOf('hello world');
const name = 'uploads/1/blobs/hello';

function setUp(waitingBytesMax = 2 ** 20) {
  const options = {
    idleTimeoutMs: 600_000,
    silentTimeoutMs: 600_000,
    waitingMax: 2,
    waitingBytesMax,
  };
  const clock = new FakeClock();
  const blobs = new MemoryBlobs({ sizeBytesMax: 2 ** 20 });
  const store = blobs.namespace('');
  const uploads = new ResumableUploads(store, clock, options);
  const begin = (at: number, called = name, blob = digest) =>
    uploads.attach(called, blob, at, never);
  return { clock, blobs, store, uploads, begin };
}

test('stores what is pushed and finished', async () => {
  const { store, uploads, begin } = setUp();
  const upload = await begin(0);
  for (const piece of ['hello', '', ' ', 'world']) {
    assert.equal(await upload.push(Buffer.from(piece)), true);
  }
  await upload.finish();
  upload.detach();
  assert.equal(await readText(store, digest), 'hello world');
  assert.deepEqual(await uploads.status(name, digest, never), {
    committedSize: 11,
    complete: true,
  });
});

test('BS-35: refuses wrong bytes at the end, and forgets them', async () => {
  const { uploads, begin } = setUp();
  const upload = await begin(0);
  await upload.push(Buffer.from('hello wurld'));
  await assert.rejects(upload.finish(), { code: Code.INVALID_ARGUMENT });
  upload.detach();
  assert.deepEqual(await uploads.status(name, digest, never), {
    committedSize: 0,
    complete: false,
  });
});

test('BS-36: refuses too many bytes without waiting for the end', async () => {
  const { begin } = setUp();
  const upload = await begin(0);
  await assert.rejects(
    async () => {
      for (;;) await upload.push(Buffer.from('hello'));
    },
    { code: Code.INVALID_ARGUMENT },
  );
  await assert.rejects(upload.stored, { code: Code.INVALID_ARGUMENT });
});

test('BS-45, BS-60: goes on at the committed size after the stream broke', async () => {
  const { store, uploads, begin } = setUp();
  const broken = await begin(0);
  await broken.push(Buffer.from('hello '));
  broken.detach();
  assert.deepEqual(await uploads.status(name, digest, never), {
    committedSize: 6,
    complete: false,
  });
  const upload = await begin(6);
  await upload.push(Buffer.from('world'));
  await upload.finish();
  assert.equal(await readText(store, digest), 'hello world');
});

test('BS-46: begins again at 0 under the same name', async () => {
  const { store, begin } = setUp();
  const broken = await begin(0);
  await broken.push(Buffer.from('hel'));
  broken.detach();
  const upload = await begin(0);
  assert.equal(upload.committedSize(), 0);
  await upload.push(Buffer.from('hello world'));
  await upload.finish();
  assert.equal(await readText(store, digest), 'hello world');
});

for (const [offset, what] of [
  [5, 'a gap'],
  [2, 'an overlap'],
] as const) {
  test(`BS-47: refuses ${what} with OUT_OF_RANGE and keeps the upload`, async () => {
    const { uploads, begin } = setUp();
    await assert.rejects(begin(offset), { code: Code.OUT_OF_RANGE });
    const broken = await begin(0);
    await broken.push(Buffer.from('hel'));
    broken.detach();
    await assert.rejects(begin(offset), {
      code: Code.OUT_OF_RANGE,
      message: /3 bytes are committed/,
    });
    assert.equal((await uploads.status(name, digest, never)).committedSize, 3);
  });
}

test('BS-39: ends early when the blob is there at the start, at any offset', async () => {
  const { store, begin } = setUp();
  await store.write(digest, chunksOf(Buffer.from('hello world')), never);
  for (const offset of [0, 7]) {
    const upload = await begin(offset);
    await upload.stored;
    assert.equal(await upload.push(Buffer.from('x')), false);
    upload.detach();
  }
});

test('BS-39: ends early, and tells a silent client, when the blob is stored meanwhile', async () => {
  const { store, uploads, begin } = setUp();
  const upload = await begin(0);
  await upload.push(Buffer.from('hello'));
  await store.write(digest, chunksOf(Buffer.from('hello world')), never);
  await upload.stored;
  assert.equal(await upload.push(Buffer.from(' world')), false);
  assert.equal((await uploads.status(name, digest, never)).complete, true);
});

test('CI-13: a later stream takes over, the earlier one fails with ABORTED', async () => {
  const { store, begin } = setUp();
  const earlier = await begin(0);
  await earlier.push(Buffer.from('hello'));
  const later = await begin(5);
  await assert.rejects(earlier.push(Buffer.from(' earth')), { code: Code.ABORTED });
  await assert.rejects(earlier.stored, { code: Code.ABORTED });
  await assert.rejects(earlier.finish(), { code: Code.ABORTED });
  earlier.detach();
  await later.push(Buffer.from(' world'));
  await later.finish();
  assert.equal(await readText(store, digest), 'hello world');
});

test('two uploads of one blob under two names both succeed', async () => {
  const { begin } = setUp();
  const [one, two] = await Promise.all([begin(0, 'one'), begin(0, 'two')]);
  await Promise.all([one, two].map((upload) => upload.push(Buffer.from('hello world'))));
  await Promise.all([one.finish(), two.finish()]);
});

test('BS-51: drops an upload whose client does not come back, and its space', async () => {
  const { clock, blobs, uploads, begin } = setUp();
  const broken = await begin(0);
  await broken.push(Buffer.from('hello'));
  broken.detach();
  clock.advance(599_999);
  await setImmediate();
  assert.equal((await uploads.status(name, digest, never)).committedSize, 5);
  const resumed = await begin(5);
  clock.advance(600_000);
  await setImmediate();
  assert.equal(await resumed.push(Buffer.from(' ')), true);
  resumed.detach();
  clock.advance(600_000);
  await setImmediate();
  assert.equal((await uploads.status(name, digest, never)).committedSize, 0);
  assert.equal(blobs.stats().usedBytes, 0);
});

test('keeps a bounded number of broken uploads, the latest ones', async () => {
  const { uploads, begin } = setUp();
  const blobs = ['hello one', 'hello two', 'hello three'].map((text) => blobOf(text).digest);
  for (const blob of blobs) {
    const broken = await begin(0, blob.hash, blob);
    await broken.push(Buffer.from('hello'));
    broken.detach();
  }
  await setImmediate();
  const sizes = blobs.map(
    async (blob) => (await uploads.status(blob.hash, blob, never)).committedSize,
  );
  assert.deepEqual(await Promise.all(sizes), [0, 5, 5]);
});

test('BS-51: broken uploads keep a bounded part of the space, the latest ones', async () => {
  const { blobs, uploads, begin } = setUp(1000);
  const [one, two] = ['1', '2'].map((text) => blobOf(text.repeat(600)).digest) as [Digest, Digest];
  for (const blob of [one, two]) {
    const broken = await begin(0, blob.hash, blob);
    await broken.push(Buffer.from('1'));
    broken.detach();
  }
  await setImmediate();
  assert.equal((await uploads.status(one.hash, one, never)).committedSize, 0);
  assert.equal((await uploads.status(two.hash, two, never)).committedSize, 1);
  assert.ok(blobs.stats().usedBytes < 1000);
});

test('BS-46: an upload that was left makes room for another one of its blob', async () => {
  const { blobs, store, begin } = setUp();
  const large = Buffer.alloc(0.6 * 2 ** 20);
  const blob = blobOf(large).digest;
  const broken = await begin(0, 'one', blob);
  await broken.push(large.subarray(0, 100));
  broken.detach();
  const again = await begin(0, 'two', blob);
  await again.push(large);
  await again.finish();
  assert.deepEqual(await store.findMissing([blob], never), []);
  assert.equal(blobs.stats().blobs, 1);
});

test('CI-13, CAS-63, RCC-03: two streams that send one blob under one name both succeed', async () => {
  const { store, begin } = setUp();
  const one = await begin(0);
  await one.push(Buffer.from('hello'));
  const two = await begin(0);
  await two.push(Buffer.from('hello'));
  await one.push(Buffer.from(' world'));
  await Promise.all([one.finish(), two.stored]);
  assert.equal(await readText(store, digest), 'hello world');
});

test('an upload whose name leads to another one ends with its stream', async () => {
  const { blobs, begin } = setUp();
  const one = await begin(0);
  const two = await begin(0);
  one.detach();
  await assert.rejects(one.stored, { code: Code.ABORTED });
  await two.push(Buffer.from('hello world'));
  await two.finish();
  assert.equal(blobs.stats().blobs, 1);
});

test('an aborted call stops waiting for the store, and can be continued', async () => {
  const { uploads } = setUp();
  const aborting = new AbortController();
  const upload = await uploads.attach(name, digest, 0, aborting.signal);
  await upload.push(Buffer.from('hello'));
  aborting.abort();
  await assert.rejects(upload.push(Buffer.from(' ')), { name: 'AbortError' });
  await assert.rejects(upload.stored, { name: 'AbortError' });
  upload.detach();
  assert.equal((await uploads.status(name, digest, never)).committedSize, 5);
});

test('closing drops what is under way', async () => {
  const { blobs, uploads, begin } = setUp();
  const upload = await begin(0);
  await upload.push(Buffer.from('hello'));
  await uploads.close();
  await assert.rejects(upload.push(Buffer.from(' ')), { code: Code.UNAVAILABLE });
  assert.equal(blobs.stats().usedBytes, 0);
});
