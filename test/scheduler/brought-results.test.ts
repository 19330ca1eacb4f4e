import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Code, StatusError } from '../../src/base/status.ts';
import {
  HeldLease,
  HeldLease_Phase,
  type Lease,
} from '../../src/proto/expbuild/worker/v1/worker.ts';
import { ranWith, requestOf, Rig } from './rig.ts';

function resultOf({ leaseId, epoch }: Lease, message = 'brought'): HeldLease {
  const phase = HeldLease_Phase.PHASE_DONE;
  return HeldLease.fromPartial({ leaseId, epoch, phase, response: ranWith(message) });
}

/** A worker that was killed with a lease, and the operation that waits for it. */
function bench(limits: ConstructorParameters<typeof Rig>[0] = {}) {
  const rig = new Rig(limits);
  const worker = rig.worker('w');
  const name = rig.enqueue(requestOf('a'));
  const { lease } = worker;
  worker.run(lease);
  worker.disconnect();
  const again = (...held: readonly HeldLease[]) => rig.worker('w', { bootId: 'boot-2', held });
  const messageOf = () => rig.state(name).response?.message;
  return { rig, name, lease, again, messageOf };
}

describe('results of before', () => {
  it('SC-01: a worker started anew brings a result, which is stored, and nothing counts as lost', () => {
    const { rig, lease, again, messageOf } = bench({ attemptsMax: 1 });
    const worker = again(resultOf(lease));
    assert.equal(worker.lease.leaseId, lease.leaseId, 'wanted until it is stored');
    assert.equal(rig.commits.length, 1);
    worker.say();
    rig.commitAll();
    assert.equal(messageOf(), 'brought');
    assert.deepEqual(worker.leases, []);
    worker.obey();
    rig.enqueue(requestOf('b'));
    assert.equal(worker.leases.length, 1, 'it takes no slot');
  });

  it('SC-01: so does one that counted as lost, unless another got the action', () => {
    const { rig, lease, again, messageOf } = bench();
    rig.pass(40_000);
    assert.equal(rig.scheduler.queuedCount, 1);
    again(resultOf(lease));
    assert.equal(rig.scheduler.queuedCount, 0);
    rig.commitAll();
    assert.equal(messageOf(), 'brought');
  });

  it('SC-07, SC-16: a worker that was silent for too long brings its result when it is heard of', () => {
    const rig = new Rig();
    const worker = rig.worker('w');
    const name = rig.enqueue(requestOf('a'));
    const { lease } = worker;
    worker.run(lease);
    rig.pass(40_000);
    assert.equal(rig.scheduler.queuedCount, 1);
    worker.held.set(lease.leaseId, resultOf(lease));
    worker.connect();
    rig.commitAll();
    assert.equal(rig.codeOf(name), Code.OK);
  });

  it('SC-07, SC-09: a result of an epoch that is over is not stored, and the worker is told to forget it', () => {
    const { rig, lease, again, messageOf } = bench();
    rig.pass(16_000);
    const other = rig.worker('other');
    assert.equal(other.lease.epoch, 2);
    const worker = again(resultOf(lease));
    assert.deepEqual(rig.commits, []);
    assert.deepEqual(worker.leases, []);
    assert.equal(worker.session?.results.late, 1);
    other.finish();
    rig.commitAll();
    assert.equal(messageOf(), 'other');
  });

  for (const [what, change] of [
    ['of another epoch', { epoch: 2 }],
    ['of a lease that never was', { leaseId: 'no-such' }],
    ['that is a failure', { response: undefined }],
    ['that is not done', { phase: HeldLease_Phase.PHASE_UPLOADING }],
  ] as const) {
    it(`SC-09: a result ${what} changes nothing: the action runs again`, () => {
      const { rig, lease, again } = bench();
      const worker = again({ ...resultOf(lease), ...change });
      assert.deepEqual(rig.commits, []);
      const [given] = [...worker.leases, ...rig.worker('other').leases];
      assert.deepEqual([given?.epoch, given?.attempt], [2, 2]);
    });
  }

  it('SC-09: a result of another worker is not taken', () => {
    const { rig, lease } = bench();
    const thief = rig.worker('thief', { held: [resultOf(lease, 'stolen')] });
    assert.deepEqual(rig.commits, []);
    assert.deepEqual(thief.leases, []);
    rig.scheduler.verify();
  });

  it('SC-09: a result of an operation that has ended is not taken', () => {
    const { rig, name, lease, again } = bench();
    rig.cancel(name);
    assert.deepEqual(again(resultOf(lease)).leases, []);
    assert.deepEqual(rig.commits, []);
    assert.equal(rig.codeOf(name), Code.CANCELLED);
  });

  it('SC-04, SC-14: a result is wanted until it is stored, over restarts of both', () => {
    const { rig, lease, again, messageOf } = bench();
    again(resultOf(lease)).disconnect();
    const third = rig.worker('w', { bootId: 'boot-3', held: [resultOf(lease)] });
    assert.equal(rig.commits.length, 1, 'it is being stored');
    assert.equal(third.lease.leaseId, lease.leaseId);
    rig.restart();
    const fourth = rig.worker('w', { bootId: 'boot-4', held: [resultOf(lease)] });
    assert.equal(fourth.lease.epoch, 1);
    rig.failCommits(new StatusError(Code.UNAVAILABLE, 'busy'));
    assert.equal(fourth.lease.epoch, 1, 'wanted while it is tried again');
    rig.pass(1_000, fourth);
    rig.commitAll();
    assert.equal(messageOf(), 'brought');
    assert.deepEqual(fourth.leases, []);
  });
});
