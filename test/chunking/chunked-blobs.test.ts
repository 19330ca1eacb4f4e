import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Chunks, chunksOf, collect } from '../../src/base/chunks.ts';
import { Code } from '../../src/base/status.ts';
import type { BlobStore } from '../../src/cas/blob-store.ts';
import { MemoryBlobs } from '../../src/cas/memory-blobs.ts';
import { ChunkedBlobs } from '../../src/chunking/chunked-blobs.ts';
import { fastCdc2020 } from '../../src/chunking/fast-cdc-2020.ts';
import { repMaxCdc } from '../../src/chunking/rep-max-cdc.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import type { Digest } from '../../src/digest/digest.ts';
import { ChunkingFunction_Value } from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { blobOf } from '../support/blob-of.ts';
import { composing } from '../support/composing.ts';
import { PlainBlobStore } from '../support/memory-blob-store.ts';
import { never } from '../support/never.ts';
import { seededRandom } from '../support/seeded-random.ts';

const { UNKNOWN, FAST_CDC_2020, REP_MAX_CDC } = ChunkingFunction_Value;
const fast = fastCdc2020({ avgBytes: 4096, seed: 0 });
const repMax = repMaxCdc({ minBytes: 2048, horizonBytes: 8 * 2048 });
const wholeBytesMax = 4 * 4096;
const chunksMax = 1000;

function randomBytes(length: number, seed = 6): Uint8Array {
  const random = seededRandom(seed);
  return Uint8Array.from({ length }, () => random() * 256);
}

/** What is asked of the store, in numbers. */
function counted(blobs: BlobStore) {
  const calls = { reads: 0, writes: 0 };
  const spliced = composing({
    findMissing: (digests, signal) => blobs.findMissing(digests, signal),
    read: (digest, offset, signal) => {
      calls.reads++;
      return blobs.read(digest, offset, signal);
    },
    write: (digest, chunks, signal) => {
      calls.writes++;
      return blobs.write(digest, chunks, signal);
    },
  });
  return { spliced, chunked: new ChunkedBlobs(spliced, [fast, repMax]), calls };
}

function setUp(sizeBytesMax = 2 ** 24) {
  const blobs = new MemoryBlobs({ sizeBytesMax }).namespace('');
  const { spliced, chunked, calls } = counted(blobs);
  const put = async (bytes: Uint8Array) => {
    const { digest } = blobOf(bytes);
    await blobs.write(digest, chunksOf(bytes), never);
    return digest;
  };
  const readAll = async (digests: readonly Digest[]) =>
    Buffer.concat(
      await Promise.all(digests.map((digest) => collect(spliced.read(digest, 0, never)))),
    );
  return { blobs: spliced, chunked, calls, put, readAll };
}

describe('splitting', () => {
  for (const [preferred, used] of [
    [UNKNOWN, FAST_CDC_2020],
    [FAST_CDC_2020, FAST_CDC_2020],
    [REP_MAX_CDC, REP_MAX_CDC],
    [77 as 1, FAST_CDC_2020],
  ] as const) {
    it(`CDC-02, CDC-03, CDC-08: asked for ${preferred}, gives stored chunks of ${used} in order`, async () => {
      const { blobs, chunked, put, readAll } = setUp();
      const bytes = randomBytes(200_000);
      const { chunks, chunking } = await chunked.split(
        await put(bytes),
        preferred,
        chunksMax,
        never,
      );
      assert.equal(chunking.value, used);
      assert.ok(chunks.length > 20);
      assert.deepEqual(await blobs.findMissing(chunks, never), []);
      assert.deepEqual(await readAll(chunks), Buffer.from(bytes));
    });
  }

  for (const sizeBytes of [1, wholeBytesMax]) {
    it(`CDC-11: a blob of ${sizeBytes} bytes is its only chunk`, async () => {
      const { chunked, put } = setUp();
      const digest = await put(randomBytes(sizeBytes));
      const { chunks } = await chunked.split(digest, UNKNOWN, chunksMax, never);
      assert.deepEqual(chunks, [digest]);
    });
  }

  it('CDC-11: the empty blob has no chunks, a larger one than is kept whole has some', async () => {
    const { chunked, put } = setUp();
    const empty = await chunked.split(blobOf('').digest, UNKNOWN, chunksMax, never);
    assert.deepEqual(empty.chunks, []);
    const digest = await put(randomBytes(wholeBytesMax + 1));
    const { chunks } = await chunked.split(digest, UNKNOWN, chunksMax, never);
    assert.ok(chunks.length > 1);
  });

  it('CDC-04: an absent blob is NOT_FOUND, whatever its size, and after it was split', async () => {
    const { chunked, put } = setUp(600_000);
    for (const absent of [blobOf('absent').digest, blobOf(randomBytes(100_000, 1)).digest]) {
      const split = chunked.split(absent, UNKNOWN, chunksMax, never);
      await assert.rejects(split, { code: Code.NOT_FOUND });
    }
    const digest = await put(randomBytes(200_000));
    await chunked.split(digest, UNKNOWN, chunksMax, never);
    await put(randomBytes(550_000, 2));
    await assert.rejects(chunked.split(digest, UNKNOWN, chunksMax, never), {
      code: Code.NOT_FOUND,
    });
  });

  it('gives the same chunks again without reading, and cuts again when one is gone', async () => {
    const store = new PlainBlobStore();
    const { chunked, calls } = counted(store);
    const digest = await store.put(randomBytes(200_000), sha256);
    const split = () => chunked.split(digest, UNKNOWN, chunksMax, never);
    const { chunks } = await split();
    assert.deepEqual((await split()).chunks, chunks);
    assert.equal(calls.reads, 1);
    store.blobs.delete(chunks[3]?.key ?? '');
    assert.deepEqual((await split()).chunks, chunks);
    assert.deepEqual(await store.findMissing(chunks), []);
  });

  it('cuts a blob once for calls at the same time', async () => {
    const store = setUp();
    const digest = await store.put(randomBytes(200_000));
    const lone = new ChunkedBlobs(store.blobs, [fast], {
      cutsAtOnce: 1,
      rememberedBytesMax: 2 ** 20,
    });
    const split = () => lone.split(digest, UNKNOWN, chunksMax, never);
    const [first, second] = await Promise.all([split(), split()]);
    assert.equal(first?.chunks, second?.chunks);
  });

  it('CDC-05: chunks that do not fit beside the blob are RESOURCE_EXHAUSTED', async () => {
    const { blobs, chunked, put } = setUp(300_000);
    const digest = await put(randomBytes(200_000));
    const split = chunked.split(digest, UNKNOWN, chunksMax, never);
    await assert.rejects(split, { code: Code.RESOURCE_EXHAUSTED });
    assert.deepEqual(await blobs.findMissing([digest], never), []);
  });

  it('CDC-06: the blob and its chunks count as used', async () => {
    const { blobs, chunked, put } = setUp(600_000);
    const digest = await put(randomBytes(200_000));
    const { chunks } = await chunked.split(digest, UNKNOWN, chunksMax, never);
    const idle = await put(randomBytes(100_000, 1));
    await chunked.split(digest, UNKNOWN, chunksMax, never);
    await put(randomBytes(100_000, 2));
    assert.deepEqual(await blobs.findMissing([digest, ...chunks, idle], never), [idle]);
  });

  it('CDC-07: a blob outlives its chunks, and chunks their blob', async () => {
    const store = new PlainBlobStore();
    const { chunked } = counted(store);
    const bytes = randomBytes(200_000);
    const digest = await store.put(bytes, sha256);
    const { chunks } = await chunked.split(digest, UNKNOWN, chunksMax, never);
    const parts = await Promise.all(chunks.map((chunk) => collect(store.read(chunk, 0))));
    for (const chunk of chunks) store.blobs.delete(chunk.key);
    assert.deepEqual(await collect(store.read(digest, 0)), Buffer.from(bytes));
    for (const part of parts) await store.put(part, sha256);
    store.blobs.delete(digest.key);
    assert.deepEqual(await store.findMissing(chunks), []);
    const split = chunked.split(digest, UNKNOWN, chunksMax, never);
    await assert.rejects(split, { code: Code.NOT_FOUND });
  });

  it('CDC-13: more chunks than fit a message are RESOURCE_EXHAUSTED', async () => {
    const { chunked, put, calls } = setUp();
    const digest = await put(randomBytes(200_000));
    const failure = { code: Code.RESOURCE_EXHAUSTED };
    await assert.rejects(chunked.split(digest, UNKNOWN, 3, never), failure);
    assert.deepEqual(calls, { reads: 0, writes: 0 }, 'nothing is stored in vain');
    const zeros = await put(Buffer.alloc(200_000));
    const { chunks } = await chunked.split(zeros, UNKNOWN, 49, never);
    assert.equal(chunks.length, 13);
  });
});

describe('splicing', () => {
  it('CDC-21, CDC-22: puts chunks together, repeated ones too', async () => {
    const { chunked, put, readAll } = setUp();
    const [a, b] = [await put(Buffer.from('aa')), await put(Buffer.from('b'))];
    const { digest, bytes } = blobOf('aabaa');
    await chunked.splice(digest, [a, b, a], never);
    assert.deepEqual(await readAll([digest]), Buffer.from(bytes));
  });

  it('CDC-15: chunks in another order are INVALID_ARGUMENT, and nothing is stored', async () => {
    const { blobs, chunked, put } = setUp();
    const [a, b] = [await put(Buffer.from('aa')), await put(Buffer.from('b'))];
    const { digest } = blobOf('baa');
    await assert.rejects(chunked.splice(digest, [a, b], never), { code: Code.INVALID_ARGUMENT });
    assert.deepEqual(await blobs.findMissing([digest], never), [digest]);
  });

  it('CDC-21: sizes that do not add up are INVALID_ARGUMENT before anything is read', async () => {
    const { chunked, put, calls } = setUp();
    const a = await put(Buffer.from('aa'));
    const { digest } = blobOf('aab');
    for (const chunks of [[a], [a, a], []]) {
      await assert.rejects(chunked.splice(digest, chunks, never), { code: Code.INVALID_ARGUMENT });
    }
    assert.equal(calls.reads, 0);
    await chunked.splice(blobOf('').digest, [], never);
  });

  it('CDC-16: an absent chunk is NOT_FOUND, and named', async () => {
    const { chunked, put } = setUp();
    const [a, absent] = [await put(Buffer.from('aa')), blobOf('b').digest];
    await assert.rejects(chunked.splice(blobOf('aab').digest, [a, absent], never), {
      code: Code.NOT_FOUND,
      message: new RegExp(absent.hash),
    });
  });

  it('CDC-18: a blob that is there already needs no chunks', async () => {
    const { chunked, put, calls } = setUp();
    const digest = await put(Buffer.from('ab'));
    await chunked.splice(digest, [blobOf('a').digest, blobOf('b').digest], never);
    assert.deepEqual(calls, { reads: 0, writes: 0 });
  });

  it('CDC-17: a blob of too many chunks for a list, for which there is no room, is RESOURCE_EXHAUSTED', async () => {
    const { chunked, put } = setUp(300_000);
    const chunk = await put(Buffer.alloc(100));
    const chunks = Array.from({ length: 4097 }, () => chunk);
    const { digest } = blobOf(Buffer.alloc(409_700));
    const splice = chunked.splice(digest, chunks, never);
    await assert.rejects(splice, { code: Code.RESOURCE_EXHAUSTED });
  });

  it('CDC-23: an aborted splice leaves nothing behind', async () => {
    const { blobs, put } = setUp();
    const [a, b] = [await put(Buffer.from('aa')), await put(Buffer.from('b'))];
    const { digest } = blobOf('aab');
    const aborting = new AbortController();
    const leaving: BlobStore = {
      findMissing: (digests, signal) => blobs.findMissing(digests, signal),
      read: async function* read(chunk, offset, signal): Chunks {
        if (chunk.equals(b)) aborting.abort();
        yield* blobs.read(chunk, offset, signal);
      },
      write: (written, chunks, signal) => blobs.write(written, chunks, signal),
    };
    const chunked = new ChunkedBlobs(composing(leaving), [fast]);
    await assert.rejects(chunked.splice(digest, [a, b], aborting.signal), { name: 'AbortError' });
    assert.deepEqual(await blobs.findMissing([digest], never), [digest]);
  });
});
