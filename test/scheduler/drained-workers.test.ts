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
