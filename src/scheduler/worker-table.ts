import assert from 'node:assert/strict';
import { Code, StatusError } from '../base/status.ts';
import type {
  DesiredState,
  HeldLease,
  Hello,
  WorkerState,
} from '../proto/expbuild/worker/v1/worker.ts';
import type { Changes } from './changes.ts';
import type { Deadlines } from './deadlines.ts';
import type { OperationTable } from './operation-table.ts';
import type { StoredLease, StoredScheduler } from './operation-rows.ts';
import type { KnownWorkers } from './known-workers.ts';
import { withMoreMemory } from './platform.ts';
import { type GivenLease, newLease, type Place, type Run } from './run.ts';
import type { RunIndex } from './run-index.ts';
import type { RunQueues } from './run-queues.ts';
import type { Runs } from './runs.ts';
import type { SchedulerOptions } from './scheduler-options.ts';
import type { SteadyTime } from './steady-time.ts';
import { isResult, type Session, Worker } from './worker.ts';
import { WorkerWishes } from './worker-wishes.ts';
import {
  isMeant,
  viewOfWorker,
  type WorkerSelection,
  type WorkerView,
  type WorkerWish,
} from './administration.ts';
import { matches } from './platform.ts';
import { checkHello, desiredStateOf, troubleOf } from './worker-messages.ts';

export interface WorkerTableOptions {
  readonly time: SteadyTime;
  readonly deadlines: Deadlines;
  readonly runs: Runs;
  readonly runIndex: RunIndex;
  readonly queues: RunQueues;
  readonly knownWorkers: KnownWorkers;
  readonly operations: OperationTable;
  readonly changes: Changes;
  readonly limits: SchedulerOptions;
}

/** The workers that are here, or that still have leases from when they were. */
export class WorkerTable {
  readonly #options: WorkerTableOptions;
  readonly #workers = new Map<string, Worker>();
  /** Sessions that end, or whose worker is to be told something. */
  readonly #changed = new Set<Session>();
  readonly #wishes: WorkerWishes;

  constructor(
    options: WorkerTableOptions,
    stored: Pick<StoredScheduler, 'drainedWorkers' | 'terminatingWorkers'>,
  ) {
    const { time, deadlines, changes, limits } = options;
    this.#options = options;
    this.#wishes = new WorkerWishes({ changes, limits, workers: this.#workers }, stored);
    // Those that were to end and are not back by then have.
    deadlines.add(time.now + limits.reattachGraceMs, () => this.#wishes.forgetEnded());
  }

  connect(state: WorkerState): Session {
    const { hello } = state;
    checkHello(hello);
    const worker = this.#admit(hello, state.leases);
    if (worker.session) this.#changed.add(worker.session);
    const session = worker.attach(hello);
    worker.isDraining = state.draining;
    worker.trouble = troubleOf(state);
    this.#options.queues.update(worker);
    this.#changed.add(session);
    this.#adopt(session, state.leases);
    this.report(session, state);
    this.#makeRoom(worker);
    return session;
  }

  report(session: Session, state: WorkerState): void {
    const { time, queues, operations, limits } = this.#options;
    if (session.hasEnded || state.sequence <= session.received) return;
    const { worker } = session;
    session.received = state.sequence;
    session.seen = Math.max(session.seen, Math.min(state.seenSequence, session.sent));
    this.#heard(worker);
    const trouble = troubleOf(state);
    if (worker.isDraining !== state.draining || worker.trouble !== trouble) {
      worker.isDraining = state.draining;
      worker.trouble = trouble;
      queues.update(worker);
    }
    const { changed, done, missing } = worker.reconcile(session, state);
    for (const { run } of changed) operations.changed(run);
    for (const lease of missing) this.#handBack(worker, lease, 'does not have');
    for (const { lease, held } of done) this.#take(worker, lease, held);
    // What it was told last may have got lost on the way.
    const isBehind = session.seen < session.sent && time.now - session.sentAt >= limits.heartbeatMs;
    if (isBehind) this.#changed.add(session);
    queues.touch(worker);
  }

  disconnect(session: Session): void {
    if (session.hasEnded) return;
    const { worker } = session;
    const { time, queues, limits } = this.#options;
    worker.detach();
    queues.update(worker);
    const goneAt = time.now + limits.reconnectGraceMs;
    if (goneAt >= worker.heardAt + limits.lostAfterMs) return;
    this.#loseAt(goneAt, worker, `was gone for ${limits.reconnectGraceMs / 1_000} s`);
  }

  give(run: Run, worker: Worker): void {
    const lease = this.#options.runs.lease(run, worker);
    worker.give(lease);
    if (worker.session) this.#changed.add(worker.session);
  }

  /** Wants the lease no more; nothing happens when its worker is gone. */
  withdraw(lease: GivenLease): void {
    const worker = this.#workers.get(lease.workerId);
    if (worker?.leases.get(lease.id) !== lease) return;
    worker.withdraw(lease);
    if (worker.session) this.#changed.add(worker.session);
    this.#options.queues.touch(worker);
  }

  /** Where a run of before a restart is: its lease waits for its worker, which may be at work. */
  restore(run: Run, stored: StoredLease | undefined): Place {
    if (!stored) return { kind: 'queued' };
    const { id, workerId, bootId } = stored;
    const worker = this.#workers.get(workerId) ?? this.#await(this.#newWorker(workerId, bootId));
    const lease = { ...newLease(run, id, worker), bootId, isSent: true };
    worker.leases.set(id, lease);
    return { kind: 'leased', lease };
  }

  /** Why the lease is not running yet, for people; undefined when it is. */
  explain({ workerId, phase }: GivenLease): string | undefined {
    if (!this.#workers.get(workerId)?.session)
      return `worker ${workerId} is away, and may come back`;
    return phase === undefined ? `worker ${workerId} has not confirmed it yet` : undefined;
  }

  /** What is to be told to workers since the last time; undefined when their session has ended. */
  takeChanged(): ReadonlyMap<Session, DesiredState | undefined> {
    const changed = new Map<Session, DesiredState | undefined>();
    for (const session of this.#changed) changed.set(session, this.#desiredState(session));
    this.#changed.clear();
    return changed;
  }

  view(): WorkerView[] {
    return [...this.#workers.values()].map(viewOfWorker);
  }

  /** Takes in what operators wish; gives the names of the workers that are meant. */
  update(selection: WorkerSelection, wish: WorkerWish): string[] {
    const meant = [...this.#workers.values()].filter((worker) => isMeant(worker, selection));
    for (const worker of meant) this.#wish(worker, wish);
    const ids = meant.map(({ id }) => id);
    if (wish !== 'undrain' || !('ids' in selection)) return ids;
    return [...ids, ...this.#wishes.undrainAway(selection.ids)];
  }

  verify(): void {
    for (const worker of this.#workers.values()) {
      assert.ok(worker.lost, `nothing tells when worker ${worker.id} is lost`);
      for (const lease of worker.leases.values()) {
        const { place } = lease.run;
        assert.ok('lease' in place && place.lease === lease, `lease ${lease.id} is not current`);
      }
      if (worker.session) {
        assert.ok(worker.givenSlots <= worker.slots, `worker ${worker.id} is given too much`);
        assert.ok(worker.isWithinCapacity, `worker ${worker.id} is given more than it has`);
      }
    }
  }

  #wish(worker: Worker, wish: WorkerWish): void {
    const { queues } = this.#options;
    this.#wishes.take(worker, wish);
    queues.update(worker);
    this.#makeRoom(worker);
    if (worker.session) this.#changed.add(worker.session);
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

  /**
   * The worker of that name: a new start of it has nothing of what an earlier one had, but the results
   * that it brings. Two processes of one name would each end what the other runs, for ever: the second is
   * refused.
   */
  #admit({ workerId, bootId }: Hello, held: readonly HeldLease[]): Worker {
    const known = this.#workers.get(workerId);
    if (known?.bootId === bootId) return known;
    if (known && this.#isHere(known)) {
      throw new StatusError(
        Code.FAILED_PRECONDITION,
        `another worker named ${workerId} is connected; give each its own worker_id, or leave it unset`,
      );
    }
    if (known) {
      for (const result of held.filter(isResult)) {
        const lease = this.#options.runIndex.findLease(workerId, result);
        if (lease) known.leases.delete(lease.id);
      }
      this.#lose(known, `worker ${workerId} was started anew`);
    }
    const worker = this.#newWorker(workerId, bootId);
    this.#workers.set(workerId, worker);
    return worker;
  }

  /** With what operators wished of it before. */
  #newWorker(id: string, bootId: string): Worker {
    const worker = new Worker(id, bootId);
    this.#wishes.remind(worker);
    return worker;
  }

  /** Takes the results of before, of which no later lease was given; the worker is told to forget the others. */
  #adopt({ worker, results }: Session, held: readonly HeldLease[]): void {
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

  #isHere({ session, heardAt }: Worker): boolean {
    const { time, limits } = this.#options;
    return session !== undefined && time.now - heardAt < limits.reconnectGraceMs;
  }

  #heard(worker: Worker): void {
    const { time, limits } = this.#options;
    worker.heardAt = time.now;
    worker.lastSeenAt = time.wallNow;
    const { lostAfterMs } = limits;
    this.#loseAt(time.now + lostAfterMs, worker, `was silent for ${lostAfterMs / 1_000} s`);
  }

  /** Unless it is heard of before. */
  #loseAt(at: number, worker: Worker, why: string): void {
    worker.lost?.cancel();
    worker.lost = this.#options.deadlines.add(at, () =>
      this.#lose(worker, `worker ${worker.id} ${why}`),
    );
  }

  #await(worker: Worker): Worker {
    const { time, limits } = this.#options;
    this.#workers.set(worker.id, worker);
    const backBy = time.now + limits.reattachGraceMs;
    this.#loseAt(backBy, worker, 'did not come back after a restart of the scheduler');
    return worker;
  }

  #lose(worker: Worker, what: string): void {
    const { runs, queues } = this.#options;
    this.#workers.delete(worker.id);
    if (worker.session) this.#changed.add(worker.session);
    worker.detach();
    worker.lost?.cancel();
    worker.rest?.cancel();
    queues.forget(worker);
    if (worker.isTerminating) this.#wishes.forgetEnded();
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
  #makeRoom(worker: Worker): void {
    for (const lease of worker.leases.values()) {
      if (lease.isSent) continue;
      const hasRoom = worker.isOpen && worker.busySlots <= worker.slots;
      if (hasRoom && matches(lease.run.requirements, worker.offered)) continue;
      this.withdraw(lease);
      if (lease.run.place.kind === 'leased') this.#options.runs.giveBack(lease.run);
    }
  }

  /** The worker has not got the lease, and is to have no other for a while, unless it shuts down. */
  #handBack(worker: Worker, lease: GivenLease, verb: string): void {
    const { runs } = this.#options;
    const { run } = lease;
    this.withdraw(lease);
    if (run.place.kind !== 'leased') return;
    if (worker.isDraining) {
      runs.giveBack(run);
      return;
    }
    this.#rest(worker);
    runs.refuse(run, `worker ${worker.id} ${verb} lease ${lease.id}`);
  }

  /** A finished lease: its result goes to be stored once, however often it is reported (WRK-15). */
  #take(worker: Worker, lease: GivenLease, { response, failure, memoryLimitMet }: HeldLease): void {
    const { runs } = this.#options;
    const { run } = lease;
    if (run.place.kind !== 'leased') return;
    if (response) {
      worker.troublesInARow = 0;
      if (!this.#mayHaveMore(run, memoryLimitMet)) {
        runs.commit(run, lease, response);
        return;
      }
      this.withdraw(lease);
      runs.enlarge(run, lease, memoryLimitMet);
      return;
    }
    this.withdraw(lease);
    this.#rest(worker);
    run.avoided.add(worker.id);
    const message = failure?.message ?? 'the lease is done, without response and failure';
    runs.fail(run, (failure?.code ?? Code.INTERNAL) as Code, `worker ${worker.id}: ${message}`);
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
