import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { chunksOf, collect } from '../../src/base/chunks.ts';
import { Code } from '../../src/base/status.ts';
import { blobIndexMigrations } from '../../src/cas/sqlite-blob-index.ts';
import { openDatabase } from '../../src/sqlite/open-database.ts';
import { type Blob, blobOf } from '../support/blob-of.ts';
import { FakeClock } from '../support/fake-clock.ts';
import {
  blockBlobs,
  filesIn,
  openFilesystemBlobs,
  readText,
  writeAll,
} from '../support/filesystem-blobs.ts';
import { never } from '../support/never.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { gatedChunks, hanging, untouched } from '../support/sources.ts';
import { tempDir } from '../support/temp-dir.ts';

const digests = (blobs: readonly Blob[]) => blobs.map(({ digest }) => digest);

test('CAS-03, CAS-36, BS-21: evicts the least recently used, where asking and reading are uses', async (t) => {
  const blobs = await openFilesystemBlobs(t, { sizeBytesMax: 4 * 4096 });
  const store = blobs.namespace('');
  const [a, b, c, d, e] = blockBlobs(5) as [Blob, Blob, Blob, Blob, Blob];
  await writeAll(store, [a, b, c, d]);
  await store.findMissing([a.digest], never);
  await readText(store, c.digest);
  await writeAll(store, [e]);
  assert.deepEqual(await store.findMissing(digests([a, b, c, d, e]), never), [b.digest]);
  assert.equal(blobs.stats().evictedBlobs, 1);
  assert.equal(blobs.stats().evictedBytes, 4096);
});

test('CAS-04, CAS-60: time alone evicts nothing', async (t) => {
  const clock = new FakeClock();
  const blobs = await openFilesystemBlobs(t, {}, clock);
  const store = blobs.namespace('');
  const some = blockBlobs(3);
  await writeAll(store, some);
  clock.advance(30 * 24 * 3_600_000);
  assert.deepEqual(await store.findMissing(digests(some), never), []);
  assert.equal(blobs.stats().evictedBlobs, 0);
});

test('deletes the files of what it evicts, and counts whole blocks', async (t) => {
  const root = tempDir(t);
  const blobs = await openFilesystemBlobs(t, { root, sizeBytesMax: 10 * 4096 });
  const small = Array.from({ length: 30 }, (_, n) => blobOf(`small ${n}`));
  await writeAll(blobs.namespace(''), small);
  assert.ok(filesIn(root).length <= 10);
  assert.equal(filesIn(root).length, blobs.stats().blobs);
  assert.equal(blobs.stats().usedBytes, blobs.stats().blobs * 4096);
});

test('CAS-61: does not evict what is being read', async (t) => {
  const store = (await openFilesystemBlobs(t, { sizeBytesMax: 2 * 81_920 })).namespace('');
  const [a, b, c] = ['a', 'b', 'c'].map((letter) => blobOf(Buffer.alloc(81_920, letter))) as [
    Blob,
    Blob,
    Blob,
  ];
  await writeAll(store, [a, b]);
  const read = store.read(a.digest, 0, never)[Symbol.asyncIterator]();
  await read.next();
  await writeAll(store, [c]);
  assert.deepEqual(await store.findMissing(digests([a, b, c]), never), [b.digest]);
  const both = blobOf(Buffer.alloc(2 * 81_920));
  await assert.rejects(store.write(both.digest, untouched(), never), {
    code: Code.RESOURCE_EXHAUSTED,
  });
  await read.return?.();
  await writeAll(store, [both]);
});

test('DF-09: refuses what can never fit before its first byte, and evicts nothing for it', async (t) => {
  const store = (await openFilesystemBlobs(t, { sizeBytesMax: 2 * 4096 })).namespace('');
  const [a] = blockBlobs(1) as [Blob];
  await writeAll(store, [a]);
  const big = blobOf(Buffer.alloc(8193));
  await assert.rejects(store.write(big.digest, untouched(), never), {
    code: Code.RESOURCE_EXHAUSTED,
    message: /max_size = 8192/,
  });
  assert.deepEqual(await store.findMissing([a.digest], never), []);
});

test('CAS-04, CAS-60: uploads evict for what arrives, not for what they announce, and nothing if they are refused', async (t) => {
  const store = (await openFilesystemBlobs(t, { sizeBytesMax: 10 * 2 ** 20 })).namespace('');
  const some = blockBlobs(8);
  await writeAll(store, some);
  const [first, second] = [
    blobOf(Buffer.alloc(6 * 2 ** 20, 1)),
    blobOf(Buffer.alloc(6 * 2 ** 20, 2)),
  ];
  const source = gatedChunks();
  const writing = store.write(first.digest, source.chunks, never);
  await source.push(first.bytes.subarray(0, 1000));
  await assert.rejects(store.write(second.digest, untouched(), never), {
    code: Code.RESOURCE_EXHAUSTED,
    message: /does not fit/,
  });
  assert.deepEqual(await store.findMissing(digests(some), never), []);
  await source.push(first.bytes.subarray(1000));
  source.end();
  await writing;
  await writeAll(store, [second]);
  assert.deepEqual(await store.findMissing([second.digest, first.digest], never), [first.digest]);
});

test('counts uploads under way, and gives their room back when they fail', async (t) => {
  const blobs = await openFilesystemBlobs(t, { sizeBytesMax: 2 * 4096 });
  const store = blobs.namespace('');
  const [a] = blockBlobs(1) as [Blob];
  const big = blobOf(Buffer.alloc(8192));
  const aborting = new AbortController();
  const waiting = store.write(big.digest, hanging(), aborting.signal);
  await assert.rejects(writeAll(store, [a]), { code: Code.RESOURCE_EXHAUSTED });
  aborting.abort();
  await assert.rejects(waiting);
  await writeAll(store, [a]);
  assert.equal(blobs.stats().usedBytes, 4096);
});

test('EV-12: a smaller limit after a restart is reached step by step', async (t) => {
  const root = tempDir(t);
  const large = await openFilesystemBlobs(t, { root });
  await writeAll(large.namespace(''), blockBlobs(400));
  await large.close();
  const small = await openFilesystemBlobs(t, { root, sizeBytesMax: 20 * 4096 });
  const one = blobOf('one more');
  await writeAll(small.namespace(''), [one]);
  assert.ok(small.stats().usedBytes <= 20 * 4096);
  assert.equal(await readText(small.namespace(''), one.digest), 'one more');
});

test('EV-04, EV-06: totals stay exact while blobs are evicted, deleted and uploaded again', async (t) => {
  const seed = 1;
  const random = seededRandom(seed);
  t.diagnostic(`seed ${seed}`);
  const root = tempDir(t);
  const blobs = await openFilesystemBlobs(t, { root, sizeBytesMax: 20 * 4096 });
  const store = blobs.namespace('');
  const all = blockBlobs(40);
  const pick = () => all[Math.floor(random() * all.length)] as Blob;
  const act = async () => {
    const { digest, bytes } = pick();
    const choice = random();
    if (choice < 0.6) await store.write(digest, chunksOf(bytes), never);
    else if (choice < 0.8) await store.findMissing([digest, pick().digest], never);
    else {
      const [missing] = await store.findMissing([digest], never);
      if (missing) return;
      const read = await collect(store.read(digest, 0, never)).catch((thrown: unknown) => {
        assert.equal((thrown as { code: Code }).code, Code.NOT_FOUND);
        return bytes;
      });
      assert.ok(Buffer.from(bytes).equals(read));
    }
  };
  for (let round = 0; round < 60; round++) {
    await Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map(act));
    const [gone] = filesIn(root);
    if (gone && round % 10 === 0) rmSync(path.join(root, gone));
  }
  await store.findMissing(digests(all), never);
  const files = filesIn(root).filter((file) => file.startsWith('blobs-v1/'));
  const sizeBytes = files.reduce((sum, file) => sum + statSync(path.join(root, file)).size, 0);
  assert.equal(blobs.stats().blobs, files.length);
  assert.equal(blobs.stats().usedBytes, sizeBytes);
});

test('DF-03: a row that cannot be committed fails the upload and leaves no file', async (t) => {
  const root = tempDir(t);
  const blobs = await openFilesystemBlobs(t, { root });
  const store = blobs.namespace('');
  const other = openDatabase(path.join(root, 'index.db'), blobIndexMigrations, {
    synchronous: 'NORMAL',
  });
  t.after(() => other.close());
  other.exec(`create trigger full before insert on blob begin
    select raise(abort, 'no row today'); end`);
  const [a] = blockBlobs(1) as [Blob];
  await assert.rejects(writeAll(store, [a]), /adding blob .*no row today/);
  assert.deepEqual(filesIn(root), []);
  assert.equal(blobs.stats().usedBytes, 0);
  other.exec('drop trigger full');
  await writeAll(store, [a]);
});

test('DF-01: a full disk refuses uploads, keeps serving, and recovers by itself', async (t) => {
  if (process.getuid?.() !== 0) return t.skip('mounting a small disk needs root');
  const root = tempDir(t);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', root], { stdio: 'pipe' });
  } catch (thrown) {
    return t.skip(`cannot mount a tmpfs here: ${String(thrown)}`);
  }
  try {
    const blobs = await openFilesystemBlobs({ after: () => {} }, { root });
    const store = blobs.namespace('');
    const kept = blobOf('kept');
    await writeAll(store, [kept]);
    const filler = path.join(root, 'filler');
    writeFileSync(filler, Buffer.alloc(2.5 * 2 ** 20));
    const big = blobOf(Buffer.alloc(3 * 2 ** 20));
    await assert.rejects(writeAll(store, [big]), { code: Code.RESOURCE_EXHAUSTED });
    assert.deepEqual(await store.findMissing([big.digest], never), [big.digest]);
    assert.equal(filesIn(root).length, 1);
    assert.equal(await readText(store, kept.digest), 'kept');
    rmSync(filler);
    await writeAll(store, [big]);
    await blobs.close();
  } finally {
    execFileSync('umount', ['-l', root]);
  }
});
