import assert from 'node:assert/strict';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { chunksOf, collect } from '../../src/base/chunks.ts';
import { Code } from '../../src/base/status.ts';
import { FilesystemBlobs } from '../../src/cas/filesystem-blobs.ts';
import { blobIndexMigrations } from '../../src/cas/sqlite-blob-index.ts';
import { namespaceFolder, storedBlob } from '../../src/cas/stored-blob.ts';
import { blake3 } from '../../src/digest/digest-functions.ts';
import { Digest } from '../../src/digest/digest.ts';
import { openDatabase } from '../../src/sqlite/open-database.ts';
import { type Blob, blobOf } from '../support/blob-of.ts';
import { damageTable } from '../support/damage-table.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { blockBlobs, filesIn, writeAll } from '../support/filesystem-blobs.ts';
import { inReverse } from '../support/in-reverse.ts';
import { keepLines } from '../support/keep-lines.ts';
import { never } from '../support/never.ts';
import { tempDir } from '../support/temp-dir.ts';

const digests = (blobs: readonly Blob[]) => blobs.map(({ digest }) => digest);

async function openStore(context: TestContext, root: string, sizeBytesMax = 2 ** 30) {
  const t = inReverse(context);
  const clock = new FakeClock();
  const { log, lines } = keepLines();
  const options = { root, sizeBytesMax, durability: 'normal' } as const;
  const blobs = await FilesystemBlobs.open(options, clock, log);
  t.after(() => blobs.close());
  return {
    clock,
    lines,
    blobs,
    store: blobs.namespace(''),
    /** Sweeps, while time passes; `atFirst` happens before any does. */
    sweep: async (atFirst: () => Promise<void> = async () => {}) => {
      const state = { swept: false };
      const sweeping = blobs.sweep(never).finally(() => {
        state.swept = true;
      });
      await clock.asleep(1);
      await atFirst();
      while (!state.swept) {
        clock.advance(1000);
        await nextTurn();
      }
      await sweeping;
    },
  };
}

/** A folder with these blobs and without an index. */
async function orphaned(t: TestContext, blobs: readonly Blob[]) {
  const root = tempDir(t);
  const first = await openStore(t, root);
  await writeAll(first.store, blobs);
  await first.blobs.close();
  for (const part of ['', '-wal', '-shm']) rmSync(`${root}/index.db${part}`, { force: true });
  const fileOf = ({ digest }: Blob) => {
    const file = path.join(root, 'blobs-v1', storedBlob(namespaceFolder(''), digest).path);
    chmodSync(file, 0o644);
    return file;
  };
  return { root, fileOf };
}

test('CC-04, CI-21: blobs whose rows are lost come back when their bytes are right, and go otherwise', async (t) => {
  const b3 = Buffer.from('under another digest function');
  const good = [
    ...blockBlobs(20),
    blobOf(Buffer.alloc(3_000_000, 'large')),
    { digest: Digest.ofBytes(blake3, b3), bytes: b3 },
  ];
  const bad = ['flipped', 'empty', 'long', 'gone'].map((what) => blobOf(Buffer.alloc(5000, what)));
  const [flipped, empty, long, gone] = bad as [Blob, Blob, Blob, Blob];
  const { root, fileOf } = await orphaned(t, [...good, ...bad]);
  const bytes = readFileSync(fileOf(flipped));
  bytes[4999] = 0;
  writeFileSync(fileOf(flipped), bytes);
  truncateSync(fileOf(empty), 0);
  writeFileSync(fileOf(long), 'x', { flag: 'a' });
  rmSync(fileOf(gone));

  const { store, blobs, sweep, lines } = await openStore(t, root);
  const all = digests([...good, ...bad]);
  assert.deepEqual(await store.findMissing(all, never), all, 'nothing is trusted by its name');
  await sweep();
  assert.deepEqual(await store.findMissing(all, never), digests(bad));
  for (const blob of good) {
    assert.ok(Buffer.from(blob.bytes).equals(await collect(store.read(blob.digest, 0, never))));
  }
  assert.equal(filesIn(root).length, good.length);
  assert.equal(blobs.stats().blobs, good.length);
  const { message, removedFiles, adoptedBlobs } = lines.at(-1) ?? {};
  assert.deepEqual([message, removedFiles, adoptedBlobs], ['swept the files of blobs', 3, 22]);
});

test('a file that cannot be deleted is told of, and holds up no other', async (t) => {
  if (process.getuid?.() === 0) return t.skip('root may delete everything');
  const orphans = blockBlobs(20);
  const { root, fileOf } = await orphaned(t, orphans);
  const bad = orphans.toSorted((a, b) => (fileOf(a) < fileOf(b) ? -1 : 1))[0] as Blob;
  truncateSync(fileOf(bad), 1);
  const folder = path.dirname(fileOf(bad));
  const { store, sweep, lines } = await openStore(t, root);
  chmodSync(folder, 0o555);
  await sweep().finally(() => chmodSync(folder, 0o755));
  assert.match(JSON.stringify(lines), /could not be swept.*EACCES/);
  assert.deepEqual(await store.findMissing(digests(orphans), never), [bad.digest]);
});

test('adopted blobs are the first to make room, and take none from others', async (t) => {
  const orphans = blockBlobs(8);
  const { root } = await orphaned(t, orphans);
  const { store, sweep, blobs } = await openStore(t, root, 6 * 4096);
  const fresh = ['a', 'b'].map((letter) => blobOf(Buffer.alloc(4096, letter)));
  await writeAll(store, fresh);
  await sweep();
  assert.deepEqual(await store.findMissing(digests(fresh), never), []);
  assert.equal(blobs.stats().evictedBlobs, 0);
  assert.equal(blobs.stats().usedBytes, 6 * 4096);
  assert.equal(filesIn(root).length, 6);
  await writeAll(
    store,
    ['c', 'd', 'e'].map((letter) => blobOf(Buffer.alloc(4096, letter))),
  );
  assert.deepEqual(await store.findMissing(digests(fresh), never), []);
});

test('an upload of a blob that is just adopted stands, and one that fails takes nothing away', async (t) => {
  const [a, b] = ['a', 'b'].map((letter) => blobOf(Buffer.alloc(3_000_000, letter))) as [
    Blob,
    Blob,
  ];
  for (const fails of [false, true]) {
    const { root } = await orphaned(t, [a]);
    const { store, blobs, sweep } = await openStore(t, root);
    await sweep(async () => {
      const upload = store.write(a.digest, chunksOf(fails ? b.bytes : a.bytes), never);
      if (fails) await assert.rejects(upload, { code: Code.INVALID_ARGUMENT });
      else await upload;
    });
    assert.ok(Buffer.from(a.bytes).equals(await collect(store.read(a.digest, 0, never))));
    assert.equal(blobs.stats().blobs, 1);
  }
});

test('adoption stops at once, and keeps what it has', async (t) => {
  const { root } = await orphaned(t, [blobOf(Buffer.alloc(3_000_000))]);
  const { blobs, clock } = await openStore(t, root);
  const stopping = new AbortController();
  const sweeping = blobs.sweep(stopping.signal);
  await clock.asleep(1);
  stopping.abort(new Error('the server stops'));
  await assert.rejects(sweeping, /the server stops/);
  assert.equal(filesIn(root).length, 1);
  assert.equal(blobs.stats().usedBytes, 0);
});

test('CC-07: an index of garbage is put aside, and made anew from the files', async (t) => {
  const all = blockBlobs(5);
  const { root } = await orphaned(t, all);
  for (let round = 0; round < 2; round++) {
    writeFileSync(path.join(root, 'index.db'), Buffer.alloc(20_000, `garbage ${round}`));
    const { store, sweep, lines, blobs } = await openStore(t, root);
    await sweep();
    assert.deepEqual(await store.findMissing(digests(all), never), []);
    assert.match(JSON.stringify(lines[0]), /index of blobs is damaged.*damaged-index\.db/);
    assert.match(readFileSync(path.join(root, 'damaged-index.db'), 'latin1'), /^garbage/);
    await blobs.close();
  }
});

for (const [what, table] of [
  ['at the start', 'total'],
  ['when it is used', 'blob'],
] as const) {
  test(`CC-07: an index whose damage shows ${what} is made anew from the files`, async (t) => {
    const all = blockBlobs(5);
    const root = tempDir(t);
    const first = await openStore(t, root);
    await writeAll(first.store, all);
    await first.blobs.close();
    const file = path.join(root, 'index.db');
    damageTable(file, table);
    if (table === 'blob') {
      const { store, blobs } = await openStore(t, root);
      const told = {
        code: Code.DATA_LOSS,
        message: new RegExp(`${file}, is damaged.*restart the`),
      };
      await assert.rejects(store.findMissing(digests(all), never), told);
      await assert.rejects(writeAll(store, blockBlobs(6)), told);
      await blobs.close();
    }
    const { store, sweep, lines } = await openStore(t, root);
    await sweep();
    assert.deepEqual(await store.findMissing(digests(all), never), []);
    assert.match(JSON.stringify(lines[0]), /index of blobs is damaged.*damaged-index\.db/);
  });
}

test('CC-07: with an older copy of the index, newer blobs are adopted and those that went are missing', async (t) => {
  const root = tempDir(t);
  const [old, gone, fresh] = ['old', 'gone', 'fresh'].map(blobOf) as [Blob, Blob, Blob];
  const first = await openStore(t, root);
  await writeAll(first.store, [old, gone]);
  await first.blobs.close();
  copyFileSync(path.join(root, 'index.db'), path.join(root, 'older'));
  const second = await openStore(t, root);
  await writeAll(second.store, [fresh]);
  await second.blobs.close();
  rmSync(path.join(root, 'blobs-v1', storedBlob(namespaceFolder(''), gone.digest).path));
  copyFileSync(path.join(root, 'older'), path.join(root, 'index.db'));
  const { store, sweep } = await openStore(t, root);
  await sweep();
  const missing = await store.findMissing(digests([old, gone, fresh]), never);
  assert.deepEqual(missing, [gone.digest]);
});

test('CC-07: an index of a newer version is left alone, and said to be one', async (t) => {
  const root = tempDir(t);
  const newer = [...blobIndexMigrations, 'create table of_later (a integer) strict'];
  openDatabase(path.join(root, 'index.db'), newer, { synchronous: 'NORMAL' }).close();
  await assert.rejects(openStore(t, root), {
    code: Code.FAILED_PRECONDITION,
    message: /of a newer ExpBuild/,
  });
  assert.ok(!existsSync(path.join(root, 'damaged-index.db')));
});
