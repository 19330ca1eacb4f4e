import type { DesiredState, HeldLease, WorkerState } from '../proto/expbuild/worker/v1/worker.ts';
import type { Deadlines } from './deadlines.ts';
import type { KnownWorkers } from './known-workers.ts';
import type { OperationTable } from './operation-table.ts';
import { matches, withMoreMemory } from './platform.ts';
import type { GivenLease, Run } from './run.ts';
import type { RunIndex } from './run-index.ts';
import type { RunQueues } from './run-queues.ts';
import type { Runs } from './runs.ts';
import type { SchedulerOptions } from './scheduler-options.ts';
import type { SteadyTime } from './steady-time.ts';
import type { Session, Worker } from './worker.ts';
import { desiredStateOf, failureOf, isResult } from './worker-messages.ts';

export interface WorkerLeasesOptions {
  readonly time: SteadyTime;
  readonly deadlines: Deadlines;
  readonly runs: Runs;
  readonly runIndex: RunIndex;
  readonly queues: RunQueues;
  readonly knownWorkers: KnownWorkers;
  readonly operations: OperationTable;
  readonly limits: SchedulerOptions;
}

/** What becomes of leases at their workers: given, told, handed back, done, withdrawn, lost. */
export class WorkerLeases {
  readonly #options: WorkerLeasesOptions;
  /** Sessions that have ended, or whose worker is to be told something. */
  readonly #untold = new Set<Session>();

  constructor(options: WorkerLeasesOptions) {
    this.#options = options;
  }

  give(run: Run, worker: Worker): void {
    const lease = this.#options.runs.lease(run, worker);
    worker.give(lease);
    this.tell(worker);
  }

  /** Wants the lease no more; nothing happens when the worker is not to have it. */
  withdraw(worker: Worker, lease: GivenLease): void {
    if (worker.leases.get(lease.id) !== lease) return;
    worker.withdraw(lease);
    this.tell(worker);
    this.#options.queues.touch(worker);
  }

  /** The worker's present session is to hear what the worker should be doing, or that it has ended. */
  tell({ session }: Worker): void {
    if (session) this.#untold.add(session);
  }

  /** What is to be told to workers since the last time; undefined when their session has ended. */
  takeUntold(): ReadonlyMap<Session, DesiredState | undefined> {
    const untold = new Map<Session, DesiredState | undefined>();
    for (const session of this.#untold) untold.set(session, this.#desiredState(session));
    this.#untold.clear();
    return untold;
  }

  /** Takes what the worker says of its leases. */
  report(session: Session, state: WorkerState): void {
    const { time, operations, limits } = this.#options;
    const { worker } = session;
    const { changed, done, missing } = worker.reconcile(session, state);
    for (const { run } of changed) operations.changed(run);
    for (const lease of missing) this.#handBack(worker, lease, 'does not have');
    for (const { lease, held } of done) this.#take(worker, lease, held);
    // What it was told last may have got lost on the way.
    const isBehind = session.seen < session.sent && time.now - session.sentAt >= limits.heartbeatMs;
    if (isBehind) this.tell(worker);
  }

  /** Takes the results of before, of which no later lease was given; the worker is told to forget the others. */
  adopt({ worker, results }: Session, held: readonly HeldLease[]): void {
    const { runs, runIndex } = this.#options;
    for (const result of held.filter(isResult)) {
      const lease = runIndex.findLease(worker.id, result);
      if (!lease) results.late += 1;
      if (!lease || worker.leases.has(lease.id)) continue;
      results.taken += 1;
      worker.adopt(lease);
      runs.resume(lease);
    }
  }

  /** The worker is about to be lost, but what it held is there: its next start brings these results. */
  spare(worker: Worker, held: readonly HeldLease[]): void {
    for (const result of held.filter(isResult)) {
      const lease = this.#options.runIndex.findLease(worker.id, result);
      if (lease) worker.leases.delete(lease.id);
    }
  }

  /** The worker is gone: its runs go to others. `what` happened to it, for people. */
  lose(worker: Worker, what: string): void {
    const { runs } = this.#options;
    for (const lease of worker.leases.values()) {
      const { run } = lease;
      lease.offer?.cancel();
      if (run.place.kind !== 'leased') continue;
      run.avoided.add(worker.id);
      if (lease.isSent) runs.lose(run, what);
      else runs.giveBack(run);
    }
  }

  /**
   * Takes back leases it has not heard of, if it came with others that fill its slots, is to get none, or is
   * not what their actions ask for any more.
   */
  makeRoom(worker: Worker): void {
    for (const lease of worker.leases.values()) {
      if (lease.isSent) continue;
      const hasRoom = worker.isOpen && worker.busySlots <= worker.slots;
      if (hasRoom && matches(lease.run.requirements, worker.offered)) continue;
      this.withdraw(worker, lease);
      if (lease.run.place.kind === 'leased') this.#options.runs.giveBack(lease.run);
    }
  }

  #desiredState(session: Session): DesiredState | undefined {
    const { time, deadlines, limits } = this.#options;
    if (session.hasEnded) return undefined;
    const { worker } = session;
    const sequence = worker.nextSequence(time.now);
    for (const lease of worker.leases.values()) {
      if (lease.phase !== undefined) continue;
      lease.offer ??= deadlines.add(time.now + limits.offerTimeoutMs, () =>
        this.#handBack(worker, lease, 'did not confirm'),
      );
    }
    const { leases, isTerminating: terminate } = worker;
    return desiredStateOf({ ...limits, sequence, terminate, leases: leases.values() });
  }

  /** The worker has not got the lease, and is to have no other for a while, unless it shuts down. */
  #handBack(worker: Worker, lease: GivenLease, verb: string): void {
    const { runs } = this.#options;
    const { run } = lease;
    this.withdraw(worker, lease);
    if (run.place.kind !== 'leased') return;
    if (worker.isDraining) {
      runs.giveBack(run);
      return;
    }
    this.#rest(worker);
    runs.refuse(run, `worker ${worker.id} ${verb} lease ${lease.id}`);
  }

  /** A finished lease: its result goes to be stored once, however often it is reported (WRK-15). */
  #take(worker: Worker, lease: GivenLease, held: HeldLease): void {
    const { response, memoryLimitMet } = held;
    const { runs } = this.#options;
    const { run } = lease;
    if (run.place.kind !== 'leased') return;
    if (response) {
      worker.troublesInARow = 0;
      if (!this.#mayHaveMore(run, memoryLimitMet)) {
        runs.commit(run, lease, response);
        return;
      }
      this.withdraw(worker, lease);
      runs.enlarge(run, lease, memoryLimitMet);
      return;
    }
    this.withdraw(worker, lease);
    this.#rest(worker);
    run.avoided.add(worker.id);
    const { code, message } = failureOf(held);
    runs.fail(run, code, `worker ${worker.id}: ${message}`);
  }

  /** It failed at a limit of memory, for the first time, and some worker gives actions more. */
  #mayHaveMore({ requirements }: Run, memoryLimitMet: number): boolean {
    if (memoryLimitMet === 0 || requirements.memoryAbove > 0) return false;
    return this.#options.knownWorkers.hasOpen(withMoreMemory(requirements, memoryLimitMet));
  }

  #rest(worker: Worker): void {
    const { time, deadlines, queues, limits } = this.#options;
    const restMs = Math.min(limits.restMs * 2 ** worker.troublesInARow, limits.restMsMax);
    worker.troublesInARow += 1;
    worker.rest?.cancel();
    worker.rest = deadlines.add(time.now + restMs, () => {
      worker.rest = undefined;
      queues.touch(worker);
    });
    queues.touch(worker);
  }
}
