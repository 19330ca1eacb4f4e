import assert from 'node:assert/strict';
import type { Clock } from '../base/clock.ts';
import type { NewId } from '../base/id.ts';
import { Code, type StatusError } from '../base/status.ts';
import type { Digest } from '../digest/digest.ts';
import type { ExecuteResponse } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { DesiredState, WorkerState } from '../proto/expbuild/worker/v1/worker.ts';
import type {
  OperationPage,
  OperationSelection,
  WorkerSelection,
  WorkerView,
  WorkerWish,
} from './administration.ts';
import { Admission } from './admission.ts';
import { Changes } from './changes.ts';
import { Deadlines } from './deadlines.ts';
import { endedBy } from './endings.ts';
import { KnownWorkers } from './known-workers.ts';
import type { OperationChanges, StoredScheduler } from './operation-rows.ts';
import { OperationTable } from './operation-table.ts';
import { OperationViews } from './operation-views.ts';
import type { ActionRequest, OperationState } from './operations.ts';
import { Invocations } from './invocations.ts';
import { type PendingCommit, PendingCommits } from './pending-commits.ts';
import type { PlatformQueue } from './platform-queue.ts';
import type { Operation, Run } from './run.ts';
import { Quarantine, type QuarantinedAction } from './quarantine.ts';
import { RunIndex } from './run-index.ts';
import { RunQueues } from './run-queues.ts';
import { Runs } from './runs.ts';
import type { SchedulerOptions } from './scheduler-options.ts';
import { SteadyTime } from './steady-time.ts';
import { unmatchedEnding } from './unmatched-ending.ts';
import type { Session } from './worker.ts';
import { WorkerLeases } from './worker-leases.ts';
import { WorkerTable } from './worker-table.ts';

export interface SchedulerParts {
  readonly clock: Clock;
  readonly newId: NewId;
  readonly limits: SchedulerOptions;
  /** What an earlier process left; its leases wait for their workers to come back. */
  readonly stored: StoredScheduler;
}

/** What there is to tell, once everything that changed is written. */
export interface News {
  /** Watched operations that look different. */
  readonly operations: readonly OperationState[];
  /** What workers should be doing now; undefined when their session has ended. */
  readonly sessions: ReadonlyMap<Session, DesiredState | undefined>;
  readonly commits: readonly PendingCommit[];
}

/**
 * Decides which worker runs which action, and when an operation ends. Synchronous: no I/O, no timers,
 * no promises. Whoever owns it writes what `flush` gives before it tells anybody the news, and calls
 * `wake` when `wakeInMs` have passed.
 */
export class Scheduler {
  readonly #limits: SchedulerOptions;
  readonly #time: SteadyTime;
  readonly #deadlines = new Deadlines();
  readonly #changes = new Changes();
  readonly #operations: OperationTable;
  readonly #knownWorkers = new KnownWorkers();
  readonly #queues: RunQueues;
  readonly #runIndex = new RunIndex();
  readonly #commits: PendingCommits;
  readonly #runs: Runs;
  readonly #leases: WorkerLeases;
  readonly #workers: WorkerTable;
  readonly #quarantine: Quarantine;
  readonly #admission: Admission;
  readonly #views: OperationViews;

  constructor({ clock, newId, limits, stored }: SchedulerParts) {
    this.#limits = limits;
    this.#time = new SteadyTime(clock, limits.pauseMs);
    const shared = {
      time: this.#time,
      deadlines: this.#deadlines,
      changes: this.#changes,
      knownWorkers: this.#knownWorkers,
      runIndex: this.#runIndex,
      invocations: new Invocations(),
      limits,
    };
    this.#operations = new OperationTable({
      ...shared,
      onAbandoned: (operation, afterMs) =>
        this.#cancel(operation, `nobody watched the operation for ${afterMs / 1_000} s`),
    });
    this.#queues = new RunQueues({
      ...shared,
      onUnmatched: (queue) => this.#endUnmatched(queue),
      onChanged: (run) => this.#operations.changed(run),
    });
    this.#quarantine = new Quarantine({ ...limits, time: this.#time });
    this.#commits = new PendingCommits(shared);
    this.#runs = new Runs({
      ...shared,
      commits: this.#commits,
      newId,
      operations: this.#operations,
      queues: this.#queues,
      quarantine: this.#quarantine,
    });
    this.#leases = new WorkerLeases({
      ...shared,
      runs: this.#runs,
      queues: this.#queues,
      operations: this.#operations,
    });
    this.#workers = new WorkerTable(
      { ...shared, queues: this.#queues, leases: this.#leases },
      stored,
    );
    this.#admission = new Admission({
      newId,
      operations: this.#operations,
      runs: this.#runs,
      quarantine: this.#quarantine,
      limits,
    });
    this.#views = new OperationViews(this.#operations, this.#queues, this.#workers);
    this.#restore(stored);
  }

  /** The name of a new operation, which will end. Fails with RESOURCE_EXHAUSTED when too many wait. */
  enqueue(request: ActionRequest): string {
    return this.#entered(() => this.#admission.enqueue(request).name);
  }

  /** The name of a new operation that is done. A restart forgets it. */
  complete(request: ActionRequest, response: ExecuteResponse): string {
    return this.#entered(() => this.#admission.complete(request, response).name);
  }

  /** Actions that do not run because they took workers down. */
  quarantined(): QuarantinedAction[] {
    return this.#entered(() => this.#quarantine.list());
  }

  /** Lets the action run again; false when it was free to. */
  release(action: Digest): boolean {
    return this.#entered(() => this.#quarantine.release(action));
  }

  /** False when there is no such operation. One that is done stays as it is (OPS-05). */
  cancel(name: string): boolean {
    return this.#entered(() => {
      const operation = this.#operations.find(name);
      if (operation) this.#cancel(operation, 'the operation was cancelled');
      return operation !== undefined;
    });
  }

  /** Forgets the operation, without cancelling it; false when there is none (OPS-07). */
  delete(name: string): boolean {
    return this.#entered(() => {
      const operation = this.#operations.find(name);
      if (operation) this.#operations.delete(operation);
      return operation !== undefined;
    });
  }

  /** Counts a watcher, until `unwatch`; false when there is no such operation. */
  watch(name: string): boolean {
    return this.#entered(() => {
      const operation = this.#operations.find(name);
      if (operation) this.#operations.watch(operation);
      return operation !== undefined;
    });
  }

  unwatch(name: string): void {
    this.#entered(() => {
      const operation = this.#operations.findAny(name);
      if (operation) this.#operations.unwatch(operation);
    });
  }

  /**
   * Takes a worker in; its first state carries `hello`. Fails with INVALID_ARGUMENT or
   * FAILED_PRECONDITION when such a worker cannot be served.
   */
  connect(state: WorkerState): Session {
    return this.#entered(() => this.#workers.connect(state));
  }

  /** Takes what a worker says; nothing happens when its session has ended, or said so before. */
  report(session: Session, state: WorkerState): void {
    this.#entered(() => this.#workers.report(session, state));
  }

  /** The worker keeps its leases, and has some time to come back. */
  disconnect(session: Session): void {
    this.#entered(() => this.#workers.disconnect(session));
  }

  /** The result of a `PendingCommit` is stored; it may have got a different response by that. */
  committed(pending: PendingCommit, response: ExecuteResponse): void {
    this.#entered(() => {
      const run = this.#commits.findRun(pending);
      if (run) this.#end(run, response);
    });
  }

  commitFailed(pending: PendingCommit, error: StatusError): void {
    this.#entered(() => {
      const run = this.#commits.findRun(pending);
      const ending = run && this.#commits.failed(run, error);
      if (ending) this.#end(run, ending);
    });
  }

  /** Does what is due. */
  wake(): void {
    this.#entered(() => {});
  }

  /** In how many milliseconds something is due; undefined when nothing is to come. */
  wakeInMs(): number | undefined {
    const { nextAt } = this.#deadlines;
    return nextAt === undefined ? undefined : this.#time.untilMs(nextAt);
  }

  find(name: string): OperationState | undefined {
    const operation = this.#operations.find(name);
    return operation && this.#views.stateOf(operation);
  }

  /** The state for those who watch it already, deleted or not. */
  findWatched(name: string): OperationState | undefined {
    const operation = this.#operations.findAny(name);
    return operation && this.#views.stateOf(operation);
  }

  /** Oldest first. */
  list(instanceName: string): OperationState[] {
    return this.#operations.list(instanceName).map((operation) => this.#views.stateOf(operation));
  }

  /** Gives `write` what has changed; all of it again next time if it throws. */
  flush(write: (changes: OperationChanges) => void): void {
    this.#changes.flush(write);
  }

  takeNews(): News {
    return {
      operations: [...this.#operations.takeChanged()]
        .filter(({ watchers }) => watchers > 0)
        .map((operation) => this.#views.stateOf(operation)),
      sessions: this.#leases.takeUntold(),
      commits: this.#commits.take(),
    };
  }

  workers(): WorkerView[] {
    return this.#workers.view();
  }

  updateWorkers(selection: WorkerSelection, wish: WorkerWish): string[] {
    return this.#entered(() => this.#workers.update(selection, wish));
  }

  /** `limit` at most. */
  operations(selection: OperationSelection, limit: number): OperationPage {
    return this.#views.page(selection, limit);
  }

  /** Cancels a build's operations that are not done; their names. */
  cancelInvocation(toolInvocationId: string): string[] {
    return this.#entered(() => {
      const meant = this.#views.select({ toolInvocationId, includeDone: false });
      for (const operation of meant) this.#cancel(operation, 'the build was cancelled');
      return meant.map(({ name }) => name);
    });
  }

  get queuedCount(): number {
    return this.#queues.size;
  }

  /** States what only a bug can break; for simulations, as it looks at everything. */
  verify(): void {
    this.#runIndex.verify();
    this.#workers.verify();
    this.#queues.verify();
    assert.equal(
      [...this.#runIndex.values()].filter(({ place }) => place.kind === 'queued').length,
      this.#queues.size,
      'every queued run, and no other, is in a queue',
    );
  }

  #cancel(operation: Operation, message: string): void {
    const { run } = operation;
    if (!run) return;
    this.#operations.finish(operation, endedBy(Code.CANCELLED, message));
    if (run.operations.size === 0) this.#end(run, endedBy(Code.CANCELLED, message));
  }

  #end(run: Run, response: ExecuteResponse): void {
    const { place } = run;
    this.#runs.end(run, response);
    if ('lease' in place) this.#workers.withdraw(place.lease);
  }

  #endUnmatched(queue: PlatformQueue): void {
    const runs = queue.runs();
    const [first] = runs;
    if (!first) return;
    const why = this.#queues.explain(first);
    const response = unmatchedEnding(queue, this.#knownWorkers, this.#limits, why);
    for (const run of runs) this.#end(run, response);
  }

  #restore({ runs, operations }: StoredScheduler): void {
    const byId = new Map<string, Run>();
    for (const stored of runs) {
      byId.set(
        stored.id,
        this.#runs.restore(stored, (run) => this.#workers.restore(run, stored.lease)),
      );
    }
    for (const { runId, ...old } of operations) {
      const run = runId === undefined ? undefined : byId.get(runId);
      const operation = this.#operations.restore(old, run);
      assert.ok(operation.done ?? operation.run, `operation ${old.name} waits for nothing`);
    }
  }

  /** Every entry begins with what has become due, and ends with giving out what can be given. */
  #entered<T>(act: () => T): T {
    this.#deadlines.runDue(this.#time.read(this.#deadlines.nextAt));
    try {
      return act();
    } finally {
      // Also when the act is refused: what became due may have made room.
      this.#queues.assign((run, worker) => this.#leases.give(run, worker));
    }
  }
}
