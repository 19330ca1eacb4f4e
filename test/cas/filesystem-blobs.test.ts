import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { chunksOf } from '../../src/base/chunks.ts';
import { Code } from '../../src/base/status.ts';
import type { FilesystemBlobs } from '../../src/cas/filesystem-blobs.ts';
import { blobIndexMigrations } from '../../src/cas/sqlite-blob-index.ts';
import { openDatabase } from '../../src/sqlite/open-database.ts';
import { blobStoreContract } from '../contract/blob-store.ts';
import { blobOf } from '../support/blob-of.ts';
import {
  blockBlobs,
  filesIn,
  openFilesystemBlobs,
  readText,
  writeAll,
} from '../support/filesystem-blobs.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { never } from '../support/never.ts';
import { hanging } from '../support/sources.ts';
import { tempDir } from '../support/temp-dir.ts';

for (const durability of ['normal', 'full'] as const) {
  blobStoreContract(`FilesystemBlobs with durability ${durability}`, async (t) =>
    (await openFilesystemBlobs(t, { durability })).namespace(''),
  );
}

const hello = blobOf('hello');

test('keeps each blob in one file called by instance, function, hash and size', async (t) => {
  const root = tempDir(t);
  const store = (await openFilesystemBlobs(t, { root })).namespace('Team/x');
  await Promise.all([1, 2, 3].map(() => writeAll(store, [hello])));
  assert.deepEqual(filesIn(root), [
    `blobs-v1/%54eam%2fx/SHA256/${hello.digest.hash.slice(0, 2)}/${hello.digest.hash}-5`,
  ]);
});

test('CI-01: leaves no file of a refused, broken or aborted upload', async (t) => {
  const root = tempDir(t);
  const blobs = await openFilesystemBlobs(t, { root });
  const store = blobs.namespace('');
  const big = blobOf(Buffer.alloc(300_000, 1));
  const wrong = Buffer.alloc(300_000, 2);
  await assert.rejects(store.write(hello.digest, chunksOf(Buffer.from('hullo')), never));
  await assert.rejects(store.write(big.digest, chunksOf(wrong), never), {
    code: Code.INVALID_ARGUMENT,
    message: new RegExp(`${big.digest.hash}.*${blobOf(wrong).digest.hash}/300000`),
  });
  const aborting = new AbortController();
  const waiting = store.write(big.digest, hanging(), aborting.signal);
  aborting.abort();
  await assert.rejects(waiting);
  assert.deepEqual(filesIn(root), []);
  assert.equal(blobs.stats().usedBytes, 0);
});

test('DIG-10: instances see nothing of each other', async (t) => {
  const blobs = await openFilesystemBlobs(t);
  await writeAll(blobs.namespace('main'), [hello]);
  for (const name of ['', 'MAIN', 'main/', 'main ']) {
    const missing = await blobs.namespace(name).findMissing([hello.digest], never);
    assert.deepEqual(missing, [hello.digest], JSON.stringify(name));
  }
});

test('has everything again after a restart, in the same order of use', async (t) => {
  const root = tempDir(t);
  const [a, b, c, d] = blockBlobs(4).map((blob) => [blob]);
  assert.ok(a && b && c && d);
  const before = await openFilesystemBlobs(t, { root });
  await writeAll(before.namespace(''), [...a, ...b, ...c]);
  assert.equal(await readText(before.namespace(''), a[0]!.digest), String(a[0]!.bytes));
  await before.close();
  const after = await openFilesystemBlobs(t, { root, sizeBytesMax: 3 * 4096 });
  assert.equal(after.stats().blobs, 3);
  await writeAll(after.namespace(''), d);
  const asked = [...a, ...b, ...c, ...d].map(({ digest }) => digest);
  assert.deepEqual(await after.namespace('').findMissing(asked, never), [b[0]!.digest]);
});

test('CC-09: opens without looking at the blobs, however many the index has', async (t) => {
  const root = tempDir(t);
  const db = openDatabase(path.join(root, 'index.db'), blobIndexMigrations, {
    synchronous: 'NORMAL',
  });
  db.exec(`with recursive n(i) as (select 1 union all select i + 1 from n where i < 50000)
    insert into blob select '%', 'SHA256', randomblob(32), i, i from n`);
  const plan = ['select max(used) from blob', 'select blobs, disk_bytes from total'].map((sql) =>
    JSON.stringify(db.prepare(`explain query plan ${sql}`).all()),
  );
  db.close();
  assert.match(plan[0] ?? '', /SEARCH blob USING COVERING INDEX blob_by_use/);
  assert.match(plan[1] ?? '', /SCAN total/);
  const blobs = await openFilesystemBlobs(t, { root });
  assert.equal(blobs.stats().blobs, 50_000);
});

test('CC-08: refuses a folder that another one uses, under another name too', async (t) => {
  const root = tempDir(t);
  const first = await openFilesystemBlobs(t, { root });
  const alias = path.join(tempDir(t), 'alias');
  symlinkSync(root, alias);
  await assert.rejects(openFilesystemBlobs(t, { root: alias }), {
    code: Code.FAILED_PRECONDITION,
    message: new RegExp(`${alias} is in use`),
  });
  await first.close();
  await openFilesystemBlobs(t, { root: alias });
});

test('CI-21: the sweep removes incoming files of earlier processes and files that only have the name of a blob', async (t) => {
  const root = tempDir(t);
  const clock = new FakeClock();
  const blobs = await openFilesystemBlobs(t, { root }, clock);
  const store = blobs.namespace('');
  await writeAll(store, [hello]);
  const [kept] = filesIn(root);
  const folder = path.join(root, 'blobs-v1/%/SHA256/ab');
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, `${'ab'.repeat(32)}-5`), 'stray');
  writeFileSync(path.join(folder, 'README'), 'not called like a blob');
  writeFileSync(path.join(root, 'incoming/1-1-1'), 'half a blob');
  await sweep(blobs, clock);
  assert.deepEqual(new Set(filesIn(root)), new Set(['blobs-v1/%/SHA256/ab/README', kept]));
  assert.equal(await readText(store, hello.digest), 'hello');
});

test('the sweep spares uploads under way, and stops when it is aborted', async (t) => {
  const clock = new FakeClock();
  const blobs = await openFilesystemBlobs(t, {}, clock);
  const big = blobOf(Buffer.alloc(200_000));
  const { promise: started, resolve: start } = Promise.withResolvers<void>();
  const { promise: swept, resolve: goOn } = Promise.withResolvers<void>();
  async function* slow() {
    yield big.bytes.subarray(0, 100_000);
    start();
    await swept;
    yield big.bytes.subarray(100_000);
  }
  const writing = blobs.namespace('').write(big.digest, slow(), never);
  await started;
  await sweep(blobs, clock);
  goOn();
  await writing;
  await assert.rejects(blobs.sweep(AbortSignal.abort()));
});

test('HI-07, CAS-06: answers for 60,000 digests in slices that let others in between', async (t) => {
  const store = (await openFilesystemBlobs(t)).namespace('');
  const present = blockBlobs(10);
  await writeAll(store, present);
  const absent = Array.from({ length: 60_000 }, (_, n) => blobOf(`absent ${n}`).digest);
  let turns = 0;
  const count = () => {
    turns++;
    turning = setImmediate(count);
  };
  let turning = setImmediate(count);
  const asked = [...absent, ...present.map(({ digest }) => digest)];
  const missing = await store.findMissing(asked, never);
  clearImmediate(turning);
  assert.equal(missing.length, 60_000);
  assert.ok(turns > 50);
});

test('keeps its files below the folder, which it makes', async (t) => {
  const root = path.join(tempDir(t), 'deep/down');
  const blobs = await openFilesystemBlobs(t, { root });
  await writeAll(blobs.namespace('../../../etc'), [hello]);
  assert.equal(filesIn(root).length, 1);
  assert.ok(existsSync(path.join(root, 'index.db')));
  assert.equal(readFileSync(path.join(root, filesIn(root)[0] ?? ''), 'utf8'), 'hello');
});

/** Sweeps, while time passes. */
async function sweep(blobs: FilesystemBlobs, clock: FakeClock): Promise<void> {
  const state = { swept: false };
  const sweeping = blobs.sweep(never).finally(() => {
    state.swept = true;
  });
  while (!state.swept) {
    clock.advance(1000);
    await nextTurn();
  }
  await sweeping;
}
