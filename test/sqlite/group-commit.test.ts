import assert from 'node:assert/strict';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { GroupCommit } from '../../src/sqlite/group-commit.ts';
import { openDatabase } from '../../src/sqlite/open-database.ts';
import { tempDir } from '../support/temp-dir.ts';

const schema = [
  'create table parent (id integer primary key) strict',
  'create table child (id integer primary key, parent integer references parent deferrable initially deferred) strict',
];

function database(t: TestContext) {
  const file = path.join(tempDir(t), 'test.db');
  const db = openDatabase(file, schema, { synchronous: 'NORMAL' });
  const onlooker = openDatabase(file, schema, { synchronous: 'NORMAL' });
  t.after(() => db.close());
  t.after(() => onlooker.close());
  const insert = db.prepare<[number]>('insert into parent values (?)');
  const orphan = db.prepare<[number, number]>('insert into child values (?, ?)');
  const count = onlooker.prepare('select count(*) from parent').pluck();
  return { db, insert, orphan, countSeenByOthers: () => count.get() as number };
}

test('writes of one turn become visible together, with what they returned', async (t) => {
  const { db, insert, countSeenByOthers } = database(t);
  const group = new GroupCommit(db);
  const seen: number[] = [];
  const writes = [1, 2, 3].map((id) =>
    group.run(() => {
      insert.run(id);
      seen.push(countSeenByOthers());
      return id * 10;
    }),
  );
  assert.deepEqual(await Promise.all(writes), [10, 20, 30]);
  assert.deepEqual(seen, [0, 0, 0]);
  assert.equal(countSeenByOthers(), 3);
});

test('a write that throws is undone and rejects alone', async (t) => {
  const { db, insert, countSeenByOthers } = database(t);
  const group = new GroupCommit(db);
  const outcomes = await Promise.allSettled([
    group.run(() => insert.run(1)),
    group.run(() => {
      insert.run(2);
      throw new Error('after writing');
    }),
    group.run(() => insert.run(1)),
    group.run(() => insert.run(3)),
  ]);
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'rejected', 'rejected', 'fulfilled'],
  );
  assert.equal(countSeenByOthers(), 2);
});

test('when the commit fails, all of its writes reject and nothing is kept', async (t) => {
  const { db, insert, orphan, countSeenByOthers } = database(t);
  db.pragma('foreign_keys = ON');
  const group = new GroupCommit(db);
  const outcomes = await Promise.allSettled([
    group.run(() => insert.run(1)),
    group.run(() => orphan.run(1, 99)),
  ]);
  assert.ok(outcomes.every(({ status }) => status === 'rejected'));
  assert.equal(countSeenByOthers(), 0);
  await group.run(() => insert.run(2));
  assert.equal(countSeenByOthers(), 1);
});

test('a write that ends the whole transaction rejects all of the batch', async (t) => {
  const { db, insert, countSeenByOthers } = database(t);
  const group = new GroupCommit(db);
  const outcomes = await Promise.allSettled([
    group.run(() => insert.run(1)),
    group.run(() => db.prepare('insert or rollback into parent values (1)').run()),
    group.run(() => insert.run(2)),
  ]);
  assert.ok(outcomes.every(({ status }) => status === 'rejected'));
  assert.equal(countSeenByOthers(), 0);
});

test('a transaction takes no more than its share', async (t) => {
  const { db, insert, countSeenByOthers } = database(t);
  const group = new GroupCommit(db, { batchMax: 2 });
  const seen: number[] = [];
  const writes = [1, 2, 3, 4, 5].map((id) =>
    group.run(() => {
      insert.run(id);
      seen.push(countSeenByOthers());
    }),
  );
  await Promise.all(writes);
  assert.deepEqual(seen, [0, 0, 2, 2, 4]);
});

test('a write may ask for another one', async (t) => {
  const { db, insert, countSeenByOthers } = database(t);
  const group = new GroupCommit(db);
  const { promise, resolve } = Promise.withResolvers<unknown>();
  await group.run(() => {
    insert.run(1);
    resolve(group.run(() => insert.run(2)));
  });
  await promise;
  assert.equal(countSeenByOthers(), 2);
});
