import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { requestOf, Rig } from './rig.ts';

// Seed 6200 of the simulation.
test('SC-27: what becomes due when a request is refused is still done at once', () => {
  const rig = new Rig({ pendingOperationsMax: 1, restMs: 500, restMsMax: 500 });
  const worker = rig.worker('w');
  const name = rig.enqueue(requestOf('a'));
  worker.fail(worker.lease, Code.RESOURCE_EXHAUSTED, 'disk full');
  worker.obey();
  assert.deepEqual(worker.leases, []);
  rig.clock.advance(1_000);
  assert.throws(() => rig.enqueue(requestOf('b')), { code: Code.RESOURCE_EXHAUSTED });
  rig.settle();
  assert.equal(worker.lease.operationName, name);
});
