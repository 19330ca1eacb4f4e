import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { chunksOf, collect } from '../../src/base/chunks.ts';
import { Code } from '../../src/base/status.ts';
import { MemoryBlobs } from '../../src/cas/memory-blobs.ts';
import { chunkListMigrations, ChunkLists } from '../../src/chunking/chunk-lists.ts';
import { SplicedBlobs } from '../../src/chunking/spliced-blobs.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import { Digest } from '../../src/digest/digest.ts';
import { openDatabase } from '../../src/sqlite/open-database.ts';
import { blobStoreContract } from '../contract/blob-store.ts';
import { never } from '../support/never.ts';
import { randomBytes } from '../support/seeded-random.ts';
import { tempDir } from '../support/temp-dir.ts';

function openLists(t: TestContext, file = ':memory:', bytesMax?: number): ChunkLists {
  const db = openDatabase(file, chunkListMigrations, { synchronous: 'FULL' });
  t.after(() => db.close());
  return new ChunkLists(db, bytesMax);
}

function makeStore(t: TestContext, sizeBytesMax = 64 * 2 ** 20, lists = openLists(t)) {
  const storage = new MemoryBlobs({ sizeBytesMax });
  const base = storage.namespace('');
  const spliced = new SplicedBlobs(base, { namespace: '', lists, blobBytesMax: 2 ** 24 });
  const put = async (bytes: Uint8Array) => {
    const digest = Digest.ofBytes(sha256, bytes);
    await base.write(digest, chunksOf(bytes), never);
    return digest;
  };
  return { base, spliced, lists, put };
}

/** A blob of so many random chunks of 4 KiB, of which the first `shared` are the same for each seed. */
async function blobOfChunks(store: ReturnType<typeof makeStore>, seed: number, shared = 0) {
  const parts = Array.from({ length: 8 }, (_, n) =>
    randomBytes(4096, n < shared ? 1_000 + n : seed * 100 + n),
  );
  const chunks: Digest[] = [];
  for (const part of parts) chunks.push(await store.put(part));
  const bytes = Buffer.concat(parts);
  return { bytes, chunks, digest: Digest.ofBytes(sha256, bytes) };
}

const readAll = (store: SplicedBlobs, digest: Digest, offset = 0) =>
  collect(store.read(digest, offset, never));

blobStoreContract('SplicedBlobs', (t) => makeStore(t).spliced);

describe('blobs that are lists of chunks', () => {
  it('CDC-15: reads back as the blob, from every offset', async (t) => {
    const store = makeStore(t);
    const { bytes, chunks, digest } = await blobOfChunks(store, 1);
    await store.spliced.compose(digest, chunks, never);
    assert.deepEqual(await store.spliced.findMissing([digest], never), []);
    for (const offset of [0, 1, 4095, 4096, 5000, bytes.length - 1, bytes.length]) {
      const read = Buffer.from(await readAll(store.spliced, digest, offset));
      assert.ok(read.equals(bytes.subarray(offset)), `${offset}`);
    }
    await assert.rejects(readAll(store.spliced, digest, bytes.length + 1), {
      code: Code.OUT_OF_RANGE,
    });
    await assert.rejects(readAll(store.spliced, digest, -1), { code: Code.OUT_OF_RANGE });
  });

  it('takes no place of its own: versions of a blob share their chunks', async (t) => {
    // Room for the chunks of ten versions that share all but one, and for no version beside them.
    const store = makeStore(t, (7 + 10 + 7) * 4096);
    const versions = [];
    for (let seed = 1; seed <= 10; seed += 1) {
      const version = await blobOfChunks(store, seed, 7);
      await store.spliced.compose(version.digest, version.chunks, never);
      versions.push(version);
    }
    for (const { bytes, digest } of versions) {
      assert.ok(bytes.equals(Buffer.from(await readAll(store.spliced, digest))));
    }
  });

  it('CDC-21: keeps nothing when the chunks come to another blob', async (t) => {
    const store = makeStore(t);
    const { chunks, digest } = await blobOfChunks(store, 1);
    const swapped = [...chunks.slice(1), ...chunks.slice(0, 1)];
    await assert.rejects(store.spliced.compose(digest, swapped, never), {
      code: Code.INVALID_ARGUMENT,
    });
    assert.deepEqual(await store.spliced.findMissing([digest], never), [digest]);
  });

  it('leaves a blob beyond the limit to the store, which has one of its own', async (t) => {
    const store = makeStore(t);
    const { chunks, digest } = await blobOfChunks(store, 1);
    const small = new SplicedBlobs(store.base, {
      namespace: '',
      lists: store.lists,
      blobBytesMax: 1,
    });
    await small.compose(digest, chunks, never);
    assert.equal(store.lists.find('', digest), undefined);
    assert.deepEqual(await store.base.findMissing([digest], never), []);
  });

  it('CAS-03: what is asked of the blob counts as a use of its chunks, and it is gone with one of them', async (t) => {
    const store = makeStore(t, 20 * 4096);
    const { bytes, chunks, digest } = await blobOfChunks(store, 1);
    await store.spliced.compose(digest, chunks, never);
    for (let n = 0; n < 40; n += 1) {
      await store.put(randomBytes(4096, 5_000 + n));
      assert.deepEqual(await store.spliced.findMissing([digest], never), [], `${n}`);
    }
    for (let n = 0; n < 15; n += 1) await store.put(randomBytes(4096, 9_000 + n));
    assert.deepEqual(await store.spliced.findMissing([digest], never), [digest]);
    await assert.rejects(readAll(store.spliced, digest), { code: Code.NOT_FOUND });
    // Its list is not: with its chunks it is there again.
    await blobOfChunks(store, 1);
    assert.deepEqual(await store.spliced.findMissing([digest], never), []);
    assert.ok(bytes.equals(Buffer.from(await readAll(store.spliced, digest))));
  });

  it('a chunk may be a list itself, and is taken for what it is made of', async (t) => {
    const store = makeStore(t);
    const inner = await blobOfChunks(store, 1);
    await store.spliced.compose(inner.digest, inner.chunks, never);
    const tail = await store.put(randomBytes(100, 3));
    const bytes = Buffer.concat([inner.bytes, randomBytes(100, 3)]);
    const outer = Digest.ofBytes(sha256, bytes);
    await store.spliced.compose(outer, [inner.digest, tail], never);
    assert.deepEqual(store.lists.find('', outer)?.length, 9);
    assert.ok(bytes.equals(Buffer.from(await readAll(store.spliced, outer))));
  });

  it('lists of lists that stand for far more chunks than they name are not gathered in memory', async (t) => {
    const store = makeStore(t);
    const byte = await store.put(Buffer.of(7));
    const many = Digest.ofBytes(sha256, Buffer.alloc(4096, 7));
    await store.spliced.compose(
      many,
      Array.from({ length: 4096 }, () => byte),
      never,
    );
    let looks = 0;
    const lists = {
      find: (...key: Parameters<ChunkLists['find']>) => {
        looks += 1;
        return store.lists.find(...key);
      },
    } as ChunkLists;
    const options = { namespace: '', lists, blobBytesMax: 2 ** 24 };
    const spliced = new SplicedBlobs(store.base, options);
    const whole = Buffer.alloc(3 * 4096, 7);
    await spliced.compose(Digest.ofBytes(sha256, whole), [many, many, many], never);
    assert.ok(whole.equals(Buffer.from(await readAll(spliced, Digest.ofBytes(sha256, whole)))));
    assert.deepEqual(await store.base.findMissing([Digest.ofBytes(sha256, whole)], never), []);

    looks = 0;
    const wrong = Digest.ofBytes(sha256, Buffer.alloc(4096, 8));
    const composing = spliced.compose(
      wrong,
      Array.from({ length: 1000 }, () => many),
      never,
    );
    await assert.rejects(composing, { code: Code.INVALID_ARGUMENT });
    assert.ok(looks < 10, `looked for ${looks} lists`);
  });

  it('lets others in between while it looks for many blobs', async (t) => {
    const store = makeStore(t);
    const { chunks, digest } = await blobOfChunks(store, 1);
    await store.spliced.compose(digest, chunks, never);
    const absent = Array.from({ length: 5_000 }, (_, n) =>
      Digest.of(sha256, n.toString(16).padStart(64, '0'), n + 1),
    );
    const state = { turns: 0, isDone: false };
    const finding = store.spliced.findMissing([...absent, digest], never).finally(() => {
      state.isDone = true;
    });
    while (!state.isDone) {
      await setImmediate();
      state.turns += 1;
    }
    assert.equal((await finding).length, absent.length);
    assert.ok(state.turns >= 9, `${state.turns} turns`);
  });

  it('CC-01: outlives a restart, and one of another instance does not see it', async (t) => {
    const file = path.join(tempDir(t), 'chunk_lists.db');
    const store = makeStore(t, 2 ** 20, openLists(t, file));
    const { bytes, chunks, digest } = await blobOfChunks(store, 1);
    await store.spliced.compose(digest, chunks, never);
    const lists = openLists(t, file);
    const options = { lists, blobBytesMax: 2 ** 24 };
    const again = new SplicedBlobs(store.base, { ...options, namespace: '' });
    assert.ok(bytes.equals(Buffer.from(await readAll(again, digest))));
    const other = new SplicedBlobs(store.base, { ...options, namespace: 'other' });
    assert.deepEqual(await other.findMissing([digest], never), [digest]);
  });

  it('keeps a bounded number of lists, the newest ones', async (t) => {
    const store = makeStore(t, 2 ** 22, openLists(t, ':memory:', 2_000));
    const blobs = [];
    for (let seed = 1; seed <= 5; seed += 1) {
      const blob = await blobOfChunks(store, seed);
      await store.spliced.compose(blob.digest, blob.chunks, never);
      blobs.push(blob.digest);
    }
    const kept = blobs.map((digest) => store.lists.find('', digest) !== undefined);
    assert.deepEqual(kept, [false, false, true, true, true].slice(0, 5));
  });
});
