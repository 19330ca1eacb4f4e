import assert from 'node:assert/strict';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { RequestMetadata } from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { StoredOperation, StoredRun } from '../../src/scheduler/operation-rows.ts';
import {
  operationMigrations,
  SqliteOperationRows,
} from '../../src/scheduler/sqlite-operation-rows.ts';
import { openDatabase } from '../../src/sqlite/open-database.ts';
import { damageTable } from '../support/damage-table.ts';
import { tempDir } from '../support/temp-dir.ts';
import { ranWith, requestOf } from './rig.ts';

function openRows(t: TestContext, file: string) {
  const db = openDatabase(file, operationMigrations, { synchronous: 'FULL' });
  t.after(() => db.close());
  return { db, rows: new SqliteOperationRows(db) };
}

const run: StoredRun = {
  id: 'run-1',
  request: {
    ...requestOf('a', { instanceName: 'team', properties: { OSFamily: 'linux' }, priority: 3 }),
    timeoutMs: 1_500.5,
    requestMetadata: RequestMetadata.fromPartial({ toolInvocationId: 'build-7' }),
  },
  queuedAt: 1_700_000_000_123,
  order: 9,
  priority: -2,
  epoch: 0,
  losses: 0,
  failures: 0,
  refusals: 0,
  avoided: [],
  memoryAbove: 0,
  lease: undefined,
};

const operation: StoredOperation = {
  name: 'team/operations/1',
  instanceName: 'team',
  action: run.request.action,
  requestMetadata: RequestMetadata.fromPartial({ toolInvocationId: 'build-8' }),
  runId: 'run-1',
  done: undefined,
  isDeleted: false,
};

const none = {
  runs: [],
  operations: [],
  endedRuns: [],
  forgottenOperations: [],
  drainedWorkers: undefined,
  terminatingWorkers: undefined,
};

test('operations and runs come back as they were written', (t) => {
  const file = path.join(tempDir(t), 'operations.db');
  const first = openRows(t, file);
  first.rows.write({ ...none, runs: [run], operations: [operation] });
  const leased: StoredRun = {
    ...run,
    epoch: 2,
    losses: 1,
    failures: 2,
    refusals: 3,
    priority: -5,
    avoided: ['w1', 'w"2'],
    memoryAbove: 2 ** 33,
    lease: { id: 'lease-1', workerId: 'w3', bootId: 'boot-1' },
  };
  first.rows.write({ ...none, runs: [leased] });
  first.db.close();
  assert.deepEqual(openRows(t, file).rows.load(), {
    runs: [leased],
    operations: [operation],
    drainedWorkers: [],
    terminatingWorkers: [],
  });
});

test('OPS-07: an operation that is deleted comes back so', (t) => {
  const { rows } = openRows(t, ':memory:');
  rows.write({ ...none, runs: [run], operations: [operation] });
  rows.write({ ...none, operations: [{ ...operation, isDeleted: true }] });
  assert.deepEqual(rows.load().operations, [{ ...operation, isDeleted: true }]);
});

test('operations of the first schema come back', (t) => {
  const file = path.join(tempDir(t), 'operations.db');
  const db = openDatabase(file, operationMigrations.slice(0, 1), { synchronous: 'FULL' });
  db.exec(`insert into operation (name, instance_name, digest_function, hash, size_bytes, run_id)
    values ('old', 'team', 'SHA256', '${operation.action.hash}', ${operation.action.sizeBytes}, 'run-1')`);
  db.close();
  const { operations } = openRows(t, file).rows.load();
  assert.deepEqual(operations, [{ ...operation, name: 'old', requestMetadata: undefined }]);
});

test('what is ended and forgotten does not come back, and operations keep their order', (t) => {
  const { rows } = openRows(t, ':memory:');
  const names = ['c', 'a', 'b'];
  rows.write({ ...none, runs: [run], operations: names.map((name) => ({ ...operation, name })) });
  const done = { response: ranWith('ok'), at: 1_700_000_000_999 };
  rows.write({
    ...none,
    operations: [{ ...operation, name: 'c', runId: undefined, done }],
    endedRuns: ['run-1'],
    forgottenOperations: ['a'],
  });
  const { runs, operations } = rows.load();
  assert.deepEqual(runs, []);
  assert.deepEqual(
    operations.map(({ name }) => name),
    ['c', 'b'],
  );
  assert.deepEqual(operations[0]?.done, done);
});

test('a write that fails leaves nothing behind', (t) => {
  const { rows } = openRows(t, ':memory:');
  const broken = { ...operation, name: 'x', instanceName: undefined as unknown as string };
  assert.throws(() => rows.write({ ...none, runs: [run], operations: [operation, broken] }));
  assert.deepEqual(rows.load(), {
    runs: [],
    operations: [],
    drainedWorkers: [],
    terminatingWorkers: [],
  });
});

test('workers that an operator drained come back so', (t) => {
  const file = path.join(tempDir(t), 'operations.db');
  const first = openRows(t, file);
  first.rows.write({ ...none, drainedWorkers: ['a', 'b'] });
  first.rows.write({ ...none, drainedWorkers: ['b'] });
  first.rows.write({ ...none, terminatingWorkers: [{ workerId: 'c', bootId: '1' }] });
  first.rows.write(none);
  first.db.close();
  const { drainedWorkers, terminatingWorkers } = openRows(t, file).rows.load();
  assert.deepEqual(drainedWorkers, ['b']);
  assert.deepEqual(terminatingWorkers, [{ workerId: 'c', bootId: '1' }]);
});

test('a database that is damaged says so, with its file and what to do', (t) => {
  const file = path.join(tempDir(t), 'operations.db');
  const first = openRows(t, file);
  first.rows.write({ ...none, runs: [run] });
  first.db.close();
  damageTable(file, 'run');
  const { rows } = openRows(t, file);
  const damaged = {
    code: Code.DATA_LOSS,
    message: new RegExp(`^${file} is damaged .*move it away`),
  };
  assert.throws(() => rows.load(), damaged);
  assert.throws(() => rows.write({ ...none, runs: [run] }), damaged);
});
