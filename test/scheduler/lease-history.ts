import assert from 'node:assert/strict';
import type { StoredRun } from '../../src/scheduler/operation-rows.ts';
import type { PendingCommit } from '../../src/scheduler/runs.ts';
import { findOvertaken } from './overtaken-run.ts';

type Rows = ReadonlyMap<string, StoredRun>;

/** Every lease that was ever written, and what must hold of them. */
export class LeaseHistory {
  readonly #leases = new Map<string, { runId: string; epoch: number }>();
  readonly #epochs = new Map<string, number>();
  readonly #trace: (line: string) => void;

  constructor(trace: (line: string) => void) {
    this.#trace = trace;
  }

  /** What was written must be a step that may be taken; `isOneStep` when it is not several at once. */
  check(before: Rows, after: Rows, isOneStep: boolean): void {
    const waiting = [...after.values()].filter(({ lease }) => !lease);
    for (const run of after.values()) {
      const known = before.get(run.id);
      assert.ok(run.epoch >= (known?.epoch ?? 0), `the epoch of ${run.id} went back`);
      if (!run.lease || known?.lease?.id === run.lease.id) continue;
      this.#leases.set(run.lease.id, { runId: run.id, epoch: run.epoch });
      this.#epochs.set(run.id, run.epoch);
      this.#trace(`${run.id} goes to ${run.lease.workerId} as ${run.lease.id}`);
      if (!isOneStep) continue;
      const overtaken = findOvertaken(run, waiting);
      assert.equal(overtaken, undefined, `${run.id} overtook ${overtaken?.id}`);
    }
  }

  /** The lease that a result is from must be the newest of its run. Its name stands in the message. */
  checkCommit({ runId, epoch, response }: PendingCommit): void {
    const lease = this.#leases.get(response.message);
    assert.deepEqual(lease, { runId, epoch }, `${response.message} is not a lease of ${runId}`);
    assert.equal(epoch, this.#epochs.get(runId), `${response.message} is stale`);
  }
}
