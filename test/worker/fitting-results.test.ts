import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  HeldLease,
  HeldLease_Phase,
  WorkerState,
} from '../../src/proto/expbuild/worker/v1/worker.ts';
import { defaultServerLimits } from '../../src/rpc/limits.ts';
import { responseBytesMax } from '../../src/scheduler/work-queue.ts';
import { fittingResults } from '../../src/worker/fitting-results.ts';

const { PHASE_DONE, PHASE_RUNNING, PHASE_UPLOADING } = HeldLease_Phase;

test('HI-24: sixteen of the largest results go into more than one message', () => {
  const running = HeldLease.fromPartial({ leaseId: 'running', phase: PHASE_RUNNING });
  const response = { message: 'x'.repeat(responseBytesMax) };
  const done = Array.from({ length: 16 }, (_, n) =>
    HeldLease.fromPartial({ leaseId: `done-${n}`, epoch: 3, phase: PHASE_DONE, response }),
  );
  let held: readonly HeldLease[] = [running, ...done];
  let messages = 0;
  while (held.length > 1) {
    messages += 1;
    const leases = fittingResults(held);
    assert.deepEqual(
      leases.map(({ leaseId, epoch }) => [leaseId, epoch]),
      held.map(({ leaseId, epoch }) => [leaseId, epoch]),
      'the worker holds them all',
    );
    const { length } = WorkerState.encode(WorkerState.fromPartial({ leases })).finish();
    assert.ok(length < defaultServerLimits.requestBytesMax, `${length} bytes`);
    for (const { leaseId, phase, response: told } of leases) {
      if (leaseId === 'running') assert.equal(phase, PHASE_RUNNING);
      else assert.equal(phase, told ? PHASE_DONE : PHASE_UPLOADING);
    }
    const taken = new Set(leases.filter((lease) => lease.response).map(({ leaseId }) => leaseId));
    assert.ok(taken.size > 0);
    held = held.filter(({ leaseId }) => !taken.has(leaseId));
  }
  assert.equal(messages, 3);
});
