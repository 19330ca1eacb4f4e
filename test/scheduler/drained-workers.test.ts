import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requestOf, Rig } from './rig.ts';

test('what a drained worker has not heard of goes elsewhere at once, and counts as nothing', () => {
  const rig = new Rig();
  const worker = rig.worker('one');
  // Given, and the stream breaks before it is told.
  const name = rig.scheduler.enqueue(requestOf('a'));
  rig.scheduler.updateWorkers({ ids: new Set(['one']) }, 'drain');
  rig.settle();
  assert.deepEqual(worker.leases, []);
  const other = rig.worker('other');
  assert.equal(other.lease.operationName, name);
  assert.equal(other.lease.attempt, 1);
});

test('a worker that was drained while it was away is not told again what never arrived', () => {
  const rig = new Rig();
  const worker = rig.worker('one');
  worker.isDeaf = true;
  const name = rig.enqueue(requestOf('a'));
  worker.disconnect();
  rig.scheduler.updateWorkers({ ids: new Set(['one']) }, 'drain');
  rig.settle();
  worker.connect();
  assert.deepEqual(worker.leases, []);
  const other = rig.worker('other');
  assert.equal(other.lease.operationName, name);
});

test('a worker that is to end hears it after a restart of the scheduler too, and its next start does not', () => {
  const rig = new Rig();
  const worker = rig.worker('one');
  // The scheduler ends before it can tell.
  rig.scheduler.updateWorkers({ ids: new Set(['one']) }, 'terminate');
  rig.scheduler.flush((changes) => rig.rows.write(changes));
  rig.restart();
  worker.connect();
  assert.equal(worker.desired?.terminate, true);
  worker.disconnect();
  const next = rig.worker('one', { bootId: 'boot-2' });
  assert.equal(next.desired?.terminate, false);
  assert.deepEqual(rig.rows.terminatingWorkers, []);
});

test('a worker that was to end and never comes back after a restart is forgotten', () => {
  const rig = new Rig();
  rig.worker('one');
  rig.scheduler.updateWorkers({ ids: new Set(['one']) }, 'terminate');
  rig.settle();
  rig.restart();
  assert.equal(rig.rows.terminatingWorkers.length, 1);
  rig.pass(61_000);
  assert.deepEqual(rig.rows.terminatingWorkers, []);
});

test('of drained workers that are gone only so many are remembered, those drained last', () => {
  const rig = new Rig({ drainedAwayMax: 2 });
  for (const id of ['a', 'b', 'c', 'd']) {
    rig.worker(id);
    rig.scheduler.updateWorkers({ ids: new Set([id]) }, 'drain');
    rig.pass(31_000);
  }
  assert.deepEqual(rig.rows.drainedWorkers, ['b', 'c', 'd']);
});
