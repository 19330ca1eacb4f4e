import assert from 'node:assert/strict';
import type { WorkerState } from '../../src/proto/expbuild/worker/v1/worker.ts';
import type { ActionRequest } from '../../src/scheduler/operations.ts';
import type { StoredRun } from '../../src/scheduler/operation-rows.ts';
import type { PendingCommit } from '../../src/scheduler/pending-commits.ts';
import type { Scheduler } from '../../src/scheduler/scheduler.ts';
import { findOvertaken } from './overtaken-run.ts';

type Rows = ReadonlyMap<string, StoredRun>;

interface WrittenLease {
  readonly runId: string;
  readonly epoch: number;
  readonly workerId: string;
  readonly bootId: string;
  /** It knows of the lease for as long as it lives, even when the rows do not. */
  readonly givenBy: Scheduler;
}

/** Every lease that was ever written, and what must hold of them. */
export class LeaseHistory {
  readonly #leases = new Map<string, WrittenLease>();
  readonly #epochs = new Map<string, number>();
  /** Runs whose result was brought, and the scheduler that took it. */
  readonly #kept = new Map<string, Scheduler>();
  /** Results that a later start of their worker brought. */
  readonly brought = new Set<string>();
  /** Bytes that each worker gives an action; 0 for no limit. */
  readonly memoryOf = new Map<string, number>();
  /** Runs that were given more memory than was too little. */
  enlarged = 0;
  readonly #trace: (line: string) => void;

  constructor(trace: (line: string) => void) {
    this.#trace = trace;
  }

  /** By action, the builds that asked for it while it had a run. */
  readonly #askedBy = new Map<string, Set<string>>();

  asked({ action, requestMetadata }: ActionRequest): void {
    const builds = this.#askedBy.get(action.key) ?? new Set();
    this.#askedBy.set(action.key, builds.add(requestMetadata?.toolInvocationId ?? ''));
  }

  /** What was written must be a step that may be taken; `isOneStep` when it is not several at once. */
  check(before: Rows, after: Rows, scheduler: Scheduler, isOneStep: boolean): void {
    const waiting = [...after.values()].filter(({ lease }) => !lease);
    const live = new Set([...after.values()].map(({ request }) => request.action.key));
    for (const key of this.#askedBy.keys()) if (!live.has(key)) this.#askedBy.delete(key);
    for (const run of after.values()) {
      const known = before.get(run.id);
      assert.ok(run.epoch >= (known?.epoch ?? 0), `the epoch of ${run.id} went back`);
      if (known && known.memoryAbove > 0)
        assert.equal(run.memoryAbove, known.memoryAbove, `${run.id} is enlarged twice`);
      if (!this.#isGiven(run, known, scheduler)) continue;
      this.#trace(`${run.id} goes to ${run.lease?.workerId} as ${run.lease?.id}`);
      this.#checkMemory(run);
      // It may have gone in the turn of another build that asked for it too.
      if (!isOneStep || (this.#askedBy.get(run.request.action.key)?.size ?? 0) > 1) continue;
      const overtaken = findOvertaken(run, waiting);
      assert.equal(overtaken, undefined, `${run.id} overtook ${overtaken?.id}`);
    }
  }

  /** The lease that a result is from must be the newest of its run. Its name stands in the message. */
  checkCommit({ runId, epoch, response }: PendingCommit): void {
    const lease = this.#leases.get(response.message);
    assert.equal(lease?.runId, runId, `${response.message} is not a lease of ${runId}`);
    assert.equal(lease.epoch, epoch, `${response.message} is of another epoch`);
    assert.equal(epoch, this.#epochs.get(runId), `${response.message} is stale`);
  }

  /** Leases whose result a worker brings, and that the scheduler must take: nobody got a later one. */
  due({ leases, hello }: WorkerState, runs: Rows, scheduler: Scheduler): string[] {
    return leases.flatMap(({ leaseId, response, memoryLimitMet }) => {
      const lease = this.#leases.get(leaseId);
      const run = response && lease && runs.get(lease.runId);
      // It is to run with more memory.
      if (run && memoryLimitMet > 0) return [];
      if (run?.epoch !== lease?.epoch || lease?.workerId !== hello?.workerId) return [];
      return run?.lease?.id === leaseId || lease?.givenBy === scheduler ? [leaseId] : [];
    });
  }

  /** A scheduler took a worker in that brought these: from then on it must not give their runs again. */
  kept(ids: readonly string[], { hello }: WorkerState, scheduler: Scheduler): void {
    for (const id of ids) {
      const lease = this.#leases.get(id);
      assert.ok(lease);
      if (lease.bootId !== hello?.bootId) this.brought.add(id);
      this.#kept.set(lease.runId, scheduler);
    }
  }

  /** What ran out of memory must not meet as little again. */
  #checkMemory({ id, memoryAbove, lease }: StoredRun): void {
    if (memoryAbove === 0) return;
    const has = this.memoryOf.get(lease?.workerId ?? '') || Infinity;
    assert.ok(has > memoryAbove, `${id} needs more than ${memoryAbove}, and got ${has}`);
    this.enlarged += 1;
  }

  /** Whether the run was given as a new lease, which then is known. */
  #isGiven(run: StoredRun, before: StoredRun | undefined, scheduler: Scheduler): boolean {
    const { lease, epoch } = run;
    if (!lease || before?.lease?.id === lease.id) return false;
    const isBack = this.#leases.has(lease.id);
    assert.equal(isBack, epoch === before?.epoch, `${lease.id} is not what its epoch says`);
    if (isBack) return false;
    const isLost = this.#kept.get(run.id) === scheduler;
    assert.ok(!isLost, `the result of ${run.id} was brought, and it runs again as ${lease.id}`);
    const { workerId, bootId } = lease;
    this.#leases.set(lease.id, { runId: run.id, epoch, workerId, bootId, givenBy: scheduler });
    this.#epochs.set(run.id, epoch);
    return true;
  }
}
