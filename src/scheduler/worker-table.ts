import assert from 'node:assert/strict';
import { Code, StatusError } from '../base/status.ts';
import type { HeldLease, Hello, WorkerState } from '../proto/expbuild/worker/v1/worker.ts';
import type { WorkerSelection, WorkerView, WorkerWish } from './administration.ts';
import type { Changes } from './changes.ts';
import type { Deadlines } from './deadlines.ts';
import type { StoredLease, StoredScheduler } from './operation-rows.ts';
import { type GivenLease, newLease, type Place, type Run } from './run.ts';
import type { RunQueues } from './run-queues.ts';
import type { SchedulerOptions } from './scheduler-options.ts';
import type { SteadyTime } from './steady-time.ts';
import { type Session, Worker } from './worker.ts';
import type { WorkerLeases } from './worker-leases.ts';
import { isMeant, viewOfWorker } from './worker-views.ts';
import { WorkerWishes } from './worker-wishes.ts';
import { checkHello, troubleOf } from './worker-messages.ts';

export interface WorkerTableOptions {
  readonly time: SteadyTime;
  readonly deadlines: Deadlines;
  readonly queues: RunQueues;
  readonly leases: WorkerLeases;
  readonly changes: Changes;
  readonly limits: SchedulerOptions;
}

/** The workers that are here, or that still have leases from when they were; who comes, and who counts as lost. */
export class WorkerTable {
  readonly #options: WorkerTableOptions;
  readonly #workers = new Map<string, Worker>();
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
    const { queues, leases } = this.#options;
    const worker = this.#admit(hello, state.leases);
    leases.tell(worker);
    const session = worker.attach(hello);
    worker.isDraining = state.draining;
    worker.trouble = troubleOf(state);
    queues.update(worker);
    leases.tell(worker);
    leases.adopt(session, state.leases);
    this.report(session, state);
    leases.makeRoom(worker);
    return session;
  }

  report(session: Session, state: WorkerState): void {
    const { queues, leases } = this.#options;
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
    leases.report(session, state);
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

  /** Wants the lease no more; nothing happens when its worker is gone. */
  withdraw(lease: GivenLease): void {
    const worker = this.#workers.get(lease.workerId);
    if (worker) this.#options.leases.withdraw(worker, lease);
  }

  /** Where a run of before a restart is: its lease waits for its worker, which may be at work. */
  restore(run: Run, stored: StoredLease | undefined): Place {
    if (!stored) return { kind: 'queued' };
    const { id, workerId, bootId } = stored;
    const worker = this.#workers.get(workerId) ?? this.#await(this.#newWorker(workerId, bootId));
    const lease = { ...newLease(run, id, { id: workerId, bootId }), isSent: true };
    worker.leases.set(id, lease);
    return { kind: 'leased', lease };
  }

  /** Why the lease is not running yet, for people; undefined when it is. */
  explain({ workerId, phase }: GivenLease): string | undefined {
    if (!this.#workers.get(workerId)?.session)
      return `worker ${workerId} is away, and may come back`;
    return phase === undefined ? `worker ${workerId} has not confirmed it yet` : undefined;
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
    const { queues, leases } = this.#options;
    this.#wishes.take(worker, wish);
    queues.update(worker);
    leases.makeRoom(worker);
    leases.tell(worker);
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
      this.#options.leases.spare(known, held);
      this.#lose(known, `worker ${workerId} was started anew`);
    }
    const { workersMax } = this.#options.limits;
    if (this.#workers.size >= workersMax) {
      throw new StatusError(
        Code.RESOURCE_EXHAUSTED,
        `${workersMax} workers are here, which is the limit; worker ${workerId} may come when others have gone`,
      );
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

  /** Of before a restart: what it offers is not known until it is back. */
  #await(worker: Worker): Worker {
    const { time, queues, limits } = this.#options;
    this.#workers.set(worker.id, worker);
    queues.update(worker);
    const backBy = time.now + limits.reattachGraceMs;
    this.#loseAt(backBy, worker, 'did not come back after a restart of the scheduler');
    return worker;
  }

  #lose(worker: Worker, what: string): void {
    const { queues, leases } = this.#options;
    this.#workers.delete(worker.id);
    leases.tell(worker);
    worker.detach();
    worker.lost?.cancel();
    worker.rest?.cancel();
    queues.forget(worker);
    if (worker.isTerminating) this.#wishes.forgetEnded();
    leases.lose(worker, what);
  }
}
