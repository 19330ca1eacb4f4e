import assert from 'node:assert/strict';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { silentLog } from '../../src/base/log.ts';
import { blobIndexMigrations, SqliteBlobIndex } from '../../src/cas/sqlite-blob-index.ts';
import { located, type StoredBlob } from '../../src/cas/stored-blob.ts';
import { openDatabase } from '../../src/sqlite/open-database.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { keepLines } from '../support/keep-lines.ts';
import { tempDir } from '../support/temp-dir.ts';

const blobs = Array.from({ length: 1000 }, (_, n) =>
  located('main', 'SHA256', n.toString(16).padStart(64, '0'), n),
);

function setUp(t: TestContext) {
  const file = path.join(tempDir(t), 'index.db');
  const clock = new FakeClock();
  const open = () => openDatabase(file, blobIndexMigrations, { synchronous: 'NORMAL' });
  const index = new SqliteBlobIndex(open(), clock, silentLog, () => {});
  t.after(() => index.close());
  /** Another connection: sees what is committed. */
  const onlooker = open();
  t.after(() => onlooker.close());
  const committed = onlooker
    .prepare<[], number>('select size_bytes from blob order by used')
    .pluck();
  return { index, clock, committed };
}

const sizes = (found: Iterable<StoredBlob>) => Array.from(found, ({ sizeBytes }) => sizeBytes);

test('gives blobs back in the order of their use', async (t) => {
  const { index } = setUp(t);
  for (const blob of blobs.slice(0, 4)) await index.insert(blob);
  assert.ok(index.use(blobs[0] as StoredBlob));
  assert.ok(index.use(blobs[2] as StoredBlob));
  assert.ok(!index.use(blobs[9] as StoredBlob));
  assert.deepEqual(sizes(index.leastRecentlyUsed()), [1, 3, 0, 2]);
  assert.deepEqual(sizes(index.leastRecentlyUsed()), [1, 3, 0, 2]);
});

test('gives back all of many, while they are removed', async (t) => {
  const { index } = setUp(t);
  await Promise.all(blobs.map((blob) => index.insert(blob)));
  const seen: number[] = [];
  for (const blob of index.leastRecentlyUsed()) {
    index.remove([blob]);
    seen.push(blob.sizeBytes);
  }
  assert.deepEqual(seen, sizes(blobs));
  assert.deepEqual(index.totals(), { blobs: 0, diskBytes: 0 });
});

test('keeps totals in the transaction of each row, once for each', async (t) => {
  const { index } = setUp(t);
  const [a, b] = [blobs[1] as StoredBlob, blobs[999] as StoredBlob];
  await Promise.all([a, b, a, b].map((blob) => index.insert(blob)));
  assert.deepEqual(index.totals(), { blobs: 2, diskBytes: 8192 });
  index.remove([a, a]);
  assert.deepEqual(index.totals(), { blobs: 1, diskBytes: 4096 });
});

test('keeps uses in memory first, and writes them together after a while', async (t) => {
  const { index, clock, committed } = setUp(t);
  for (const blob of blobs.slice(0, 3)) await index.insert(blob);
  index.use(blobs[0] as StoredBlob);
  assert.deepEqual(committed.all(), [0, 1, 2]);
  clock.advance(1000);
  while (committed.get() === 0) await setImmediate();
  assert.deepEqual(committed.all(), [1, 2, 0]);
});

test('writes nothing for the use of a blob that is among the newest', async (t) => {
  const { index, clock, committed } = setUp(t);
  await Promise.all(blobs.map((blob) => index.insert(blob)));
  index.use(blobs[950] as StoredBlob);
  index.use(blobs[10] as StoredBlob);
  clock.advance(1000);
  while (committed.all().at(-1) === 999) await setImmediate();
  assert.deepEqual(committed.all().slice(-2), [999, 10]);
});

test('closing keeps the uses that were in memory', async (t) => {
  const { index, committed } = setUp(t);
  for (const blob of blobs.slice(0, 3)) await index.insert(blob);
  index.use(blobs[0] as StoredBlob);
  await index.close();
  assert.deepEqual(committed.all(), [1, 2, 0]);
});

test('closing lets go of a database that takes no more uses', async () => {
  const db = openDatabase(':memory:', blobIndexMigrations, { synchronous: 'NORMAL' });
  const { log, lines } = keepLines();
  const index = new SqliteBlobIndex(db, new FakeClock(), log, () => {});
  for (const blob of blobs.slice(0, 3)) await index.insert(blob);
  index.use(blobs[0] as StoredBlob);
  db.pragma('query_only = 1');
  await index.close();
  assert.ok(!db.open);
  assert.match(JSON.stringify(lines), /order in which blobs were used could not be kept.*readonly/);
});

test('gives blobs in the order of their names', async (t) => {
  const { index } = setUp(t);
  const some = [blobs[3], blobs[1], blobs[2]] as StoredBlob[];
  const other = located('%', 'SHA256', 'f'.repeat(64), 7);
  for (const blob of [...some, other]) await index.insert(blob);
  const found: StoredBlob[] = [];
  for (let next = index.findNext(undefined); next; next = index.findNext(next)) found.push(next);
  assert.deepEqual(sizes(found), [7, 1, 2, 3]);
  assert.deepEqual(index.findNext(located('main', 'SHA256', blobs[1]?.hash ?? '', 0)), blobs[1]);
});

test('remembers up to where blobs were verified', async (t) => {
  const { index } = setUp(t);
  assert.equal(index.findVerified(), undefined);
  for (const blob of blobs.slice(5, 7)) {
    await index.noteVerified(blob);
    assert.deepEqual(index.findVerified(), blob);
  }
});
