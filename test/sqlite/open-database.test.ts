import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { openDatabase } from '../../src/sqlite/open-database.ts';
import { tempDir } from '../support/temp-dir.ts';

const durable = { synchronous: 'FULL' } as const;
const first = 'create table blob (hash text primary key) strict';
const second = "insert into blob values ('from the second migration')";

test('a new file gets every migration, and keeps its rows', (t) => {
  const file = path.join(tempDir(t), 'index.db');
  openDatabase(file, [first, second], durable).close();
  const db = openDatabase(file, [first, second], durable);
  t.after(() => db.close());
  assert.equal(db.pragma('user_version', { simple: true }), 2);
  assert.equal(db.pragma('journal_mode', { simple: true }), 'wal');
  assert.deepEqual(db.prepare('select hash from blob').pluck().all(), [
    'from the second migration',
  ]);
});

test('a file of an older version gets only the migrations it lacks', (t) => {
  const file = path.join(tempDir(t), 'index.db');
  openDatabase(file, [first], durable).close();
  const db = openDatabase(file, [first, second], durable);
  t.after(() => db.close());
  assert.equal(db.prepare('select count(*) from blob').pluck().get(), 1);
});

test('a migration that fails leaves the file as it was', (t) => {
  const file = path.join(tempDir(t), 'index.db');
  openDatabase(file, [first], durable).close();
  assert.throws(() => openDatabase(file, [first, second, 'nonsense'], durable), {
    message: new RegExp(file),
  });
  const db = openDatabase(file, [first], durable);
  t.after(() => db.close());
  assert.equal(db.prepare('select count(*) from blob').pluck().get(), 0);
});

test('a file of a newer version is refused by name', (t) => {
  const file = path.join(tempDir(t), 'index.db');
  openDatabase(file, [first, second], durable).close();
  assert.throws(() => openDatabase(file, [first], durable), {
    code: Code.FAILED_PRECONDITION,
    message: new RegExp(`${file} has schema 2.*up to 1`),
  });
});

test('a file that is no database is refused by name', (t) => {
  const file = path.join(tempDir(t), 'index.db');
  writeFileSync(file, 'no database at all, but some text that is long enough'.repeat(100));
  assert.throws(() => openDatabase(file, [first], durable), {
    code: Code.DATA_LOSS,
    message: new RegExp(file),
  });
});

test('a file with a damaged schema is refused', (t) => {
  const file = path.join(tempDir(t), 'index.db');
  openDatabase(file, [first], durable).close();
  const bytes = readFileSync(file);
  bytes.fill(0xff, 100, 4096);
  writeFileSync(file, bytes);
  assert.throws(() => openDatabase(file, [first], durable), { code: Code.DATA_LOSS });
});

test('a file in a folder that does not exist is refused by name', (t) => {
  const file = path.join(tempDir(t), 'absent', 'index.db');
  assert.throws(() => openDatabase(file, [first], durable), {
    code: Code.FAILED_PRECONDITION,
    message: new RegExp(file),
  });
});

for (const [synchronous, number] of [
  ['FULL', 2],
  ['NORMAL', 1],
] as const) {
  test(`synchronous is ${synchronous} when asked for`, (t) => {
    const db = openDatabase(path.join(tempDir(t), 'index.db'), [first], { synchronous });
    t.after(() => db.close());
    assert.equal(db.pragma('synchronous', { simple: true }), number);
  });
}

test('a database may live in memory', (t) => {
  const db = openDatabase(':memory:', [first, second], durable);
  t.after(() => db.close());
  assert.equal(db.prepare('select count(*) from blob').pluck().get(), 1);
});
