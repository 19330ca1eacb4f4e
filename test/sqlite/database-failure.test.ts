import assert from 'node:assert/strict';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { Code, StatusError } from '../../src/base/status.ts';
import { databaseFailure } from '../../src/sqlite/database-failure.ts';
import { openDatabase } from '../../src/sqlite/open-database.ts';
import { damageTable } from '../support/damage-table.ts';
import { tempDir } from '../support/temp-dir.ts';

const schema = ['create table blob (hash text) strict'];

function openFile(t: TestContext, file = path.join(tempDir(t), 'some.db')) {
  const db = openDatabase(file, schema, { synchronous: 'NORMAL' });
  t.after(() => db.close());
  return { db, file };
}

function failureOf(db: ReturnType<typeof openFile>['db'], sql: string): unknown {
  try {
    db.exec(sql);
  } catch (thrown) {
    return databaseFailure(db, 'the table', thrown);
  }
  return undefined;
}

const manyRows =
  'insert into blob with recursive n(i) as (select 1 union all select i + 1 from n limit 1000) ' +
  'select hex(randomblob(100)) from n';

test('a full disk is RESOURCE_EXHAUSTED', (t) => {
  const { db } = openFile(t);
  db.pragma('max_page_count = 3');
  const failure = failureOf(db, manyRows) as StatusError;
  assert.deepEqual([failure.code, failure.message.slice(0, 17)], [8, 'the table failed:']);
});

test('what may pass is UNAVAILABLE', (t) => {
  const { db, file } = openFile(t);
  openFile(t, file).db.exec('begin immediate');
  db.pragma('busy_timeout = 1');
  assert.equal((failureOf(db, manyRows) as StatusError).code, Code.UNAVAILABLE);
});

test('damage is DATA_LOSS, with the file and what to do', (t) => {
  const { db, file } = openFile(t);
  db.exec(manyRows);
  db.close();
  damageTable(file, 'blob');
  const failure = failureOf(openFile(t, file).db, 'select count(*) from blob') as StatusError;
  assert.equal(failure.code, Code.DATA_LOSS);
  assert.match(failure.message, new RegExp(`^${file} is damaged .*restore it from a backup`));
});

test('an error that has a status keeps it', (t) => {
  const error = new StatusError(Code.NOT_FOUND, 'nothing');
  assert.equal(databaseFailure(openFile(t).db, 'the table', error), error);
});
