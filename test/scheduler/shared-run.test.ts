import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { requestOf, Rig } from './rig.ts';

test('SC-13: a thousand clients of one action that leave one by one: it ends a while after the last, and whoever comes before joins it', () => {
  const rig = new Rig({ abandonRunningAfterMs: 60_000 });
  const worker = rig.worker('w', { slots: 4 });
  const names = Array.from({ length: 1_000 }, () => rig.enqueue(requestOf('a')));
  for (const name of names) rig.scheduler.watch(name);
  const { leaseId } = worker.lease;
  worker.run();
  const [last = '', ...others] = names;
  for (const name of others) rig.scheduler.unwatch(name);
  rig.pass(120_000, worker);
  assert.ok(others.every((name) => rig.codeOf(name) === Code.CANCELLED));
  assert.equal(rig.codeOf(last), undefined);
  assert.equal(worker.lease.leaseId, leaseId);

  rig.scheduler.unwatch(last);
  rig.pass(59_000, worker);
  const joined = rig.enqueue(requestOf('a'));
  rig.scheduler.watch(joined);
  rig.pass(2_000, worker);
  assert.equal(rig.codeOf(last), Code.CANCELLED);
  assert.equal(worker.lease.leaseId, leaseId, 'it runs for who came');

  rig.scheduler.unwatch(joined);
  rig.pass(59_000, worker);
  assert.equal(worker.lease.leaseId, leaseId);
  rig.pass(2_000, worker);
  assert.equal(rig.codeOf(joined), Code.CANCELLED);
  assert.deepEqual(worker.leases, []);
});
