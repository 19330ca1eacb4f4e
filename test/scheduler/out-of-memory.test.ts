import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { HeldLease_Phase } from '../../src/proto/expbuild/worker/v1/worker.ts';
import { linux, ranWith, requestOf, Rig, type RigWorker } from './rig.ts';

const GiB = 2 ** 30;

/** The action fails there for want of memory. */
function runOut(worker: RigWorker, memoryLimitMet: number): void {
  const response = ranWith(`${worker.id} had too little`);
  worker.hold(worker.lease, HeldLease_Phase.PHASE_DONE, { response, memoryLimitMet });
  worker.obey();
}

function bench(limits = {}) {
  const rig = new Rig(limits);
  const small = rig.worker('small', { properties: linux, actionMemoryMax: GiB });
  const name = rig.enqueue(requestOf('a', { properties: linux }));
  small.say();
  return { rig, small, name, large: () => rig.worker('large', { properties: linux }) };
}

describe('an action that runs out of memory', () => {
  it('is tried once more where it may have more, and that is its result', () => {
    const { rig, small, name, large } = bench();
    const other = rig.worker('as small', { properties: linux, actionMemoryMax: GiB });
    const more = large();
    runOut(small, GiB);
    assert.deepEqual([small.leases.length, other.leases.length], [0, 0]);
    assert.equal(more.lease.attempt, 2);
    more.finish();
    rig.commitAll();
    assert.equal(rig.state(name).response?.message, 'large');
  });

  it('is not tried a third time', () => {
    const { rig, small, name } = bench();
    const middle = rig.worker('middle', { properties: linux, actionMemoryMax: 2 * GiB });
    runOut(small, GiB);
    rig.worker('large', { properties: linux });
    runOut(middle, 2 * GiB);
    rig.commitAll();
    assert.equal(rig.state(name).response?.message, 'middle had too little');
  });

  it('fails at once where no worker that may get it gives more', () => {
    const { rig, small, name, large } = bench();
    rig.worker('as small', { properties: linux, actionMemoryMax: GiB });
    rig.worker('of another kind', { properties: { OSFamily: 'macos' } });
    large();
    rig.scheduler.updateWorkers({ ids: new Set(['large']) }, 'drain');
    runOut(small, GiB);
    rig.commitAll();
    assert.equal(rig.state(name).response?.message, 'small had too little');
  });

  it('waits for more, and says so, also after a restart of the scheduler', () => {
    const { rig, small, name, large } = bench();
    const busy = large();
    rig.enqueue(requestOf('b', { properties: linux }));
    busy.say();
    runOut(small, GiB);
    const reason = 'the one worker that matches is busy (large); 1GiB of memory were too little';
    assert.equal(rig.waitingReason(name), reason);
    rig.restart();
    small.connect();
    small.say();
    assert.deepEqual(small.leases, []);
    busy.connect();
    busy.finish(busy.lease);
    rig.commitAll();
    busy.obey();
    busy.finish(busy.lease);
    rig.commitAll();
    assert.equal(rig.state(name).response?.message, 'large');
  });

  it('may come back when all that gives more has gone', () => {
    const { rig, small, name, large } = bench();
    const more = large();
    runOut(small, GiB);
    rig.scheduler.watch(name);
    more.isDraining = true;
    more.refuses = true;
    more.say();
    rig.pass(rig.limits.unmatchedGraceMs + 1_000, small, more);
    assert.equal(rig.codeOf(name), Code.UNAVAILABLE);
    assert.match(rig.messageOf(name), /no worker takes it now: .*shuts down \(large\)/);
    more.disconnect();
    rig.pass(rig.limits.lostAfterMs + 1_000, small);
    const again = rig.enqueue(requestOf('a', { properties: linux }));
    small.say();
    runOut(small, GiB);
    rig.commitAll();
    assert.equal(rig.state(again).response?.message, 'small had too little');
  });

  it('does not end with what a later start of its first worker brings', () => {
    const { rig, small, name, large } = bench();
    const busy = large();
    rig.enqueue(requestOf('b', { properties: linux }));
    busy.say();
    const response = ranWith('too little');
    const result = { response, memoryLimitMet: GiB };
    small.hold(small.lease, HeldLease_Phase.PHASE_DONE, result);
    small.disconnect();
    rig.worker('small', {
      properties: linux,
      actionMemoryMax: GiB,
      bootId: 'boot-2',
      held: small.held.values(),
    });
    rig.commitAll();
    assert.equal(rig.state(name).response, undefined);
    assert.equal(rig.state(name).metadata.stage, 2, 'queued');
  });
});
