import assert from 'node:assert/strict';
import type { Deadlines } from './deadlines.ts';
import { FamiliarWorkers } from './familiar-workers.ts';
import type { Invocation, Invocations } from './invocations.ts';
import type { Group, Turn } from './group.ts';
import type { KnownWorkers } from './known-workers.ts';
import type { PlatformQueue } from './platform-queue.ts';
import { PlatformQueues } from './platform-queues.ts';
import { comesBefore, type Run } from './run.ts';
import type { SchedulerOptions } from './scheduler-options.ts';
import type { SteadyTime } from './steady-time.ts';
import { explainWaiting } from './waiting-reason.ts';
import type { Worker } from './worker.ts';

export interface RunQueuesOptions {
  readonly time: SteadyTime;
  readonly deadlines: Deadlines;
  readonly invocations: Invocations;
  readonly limits: SchedulerOptions;
  readonly knownWorkers: KnownWorkers;
  /** Told when no worker could run the queue's runs for the whole grace. */
  readonly onUnmatched: (queue: PlatformQueue) => void;
  /** Told when a queued run waits for another reason than before. */
  readonly onChanged: (run: Run) => void;
}

/** Whose turn it is of all. */
interface NextRun extends Turn {
  readonly queue: PlatformQueue;
}

/** All queued runs, and which of them goes where when a worker has a free slot. */
export class RunQueues {
  readonly #options: RunQueuesOptions;
  readonly #workers: KnownWorkers;
  readonly #queues: PlatformQueues;
  readonly #familiar = new FamiliarWorkers();
  /** How many leases each worker may be given now; those that may be given none are not here. */
  readonly #freeSlots = new Map<Worker, number>();
  /** Workers whose number of free slots may be another one. */
  readonly #touched = new Set<Worker>();
  readonly #isBefore: (a: Run, b: Run) => boolean;
  #size = 0;
  /** Something happened since the last pass that may let a run go. */
  #isDue = false;
  /** Why runs of each queue wait, until something happens. */
  readonly #reasons = new Map<PlatformQueue, string>();

  constructor(options: RunQueuesOptions) {
    this.#options = options;
    this.#workers = options.knownWorkers;
    this.#isBefore = comesBefore(options.limits.priorityPointMs);
    this.#queues = new PlatformQueues({ ...options, isBefore: this.#isBefore });
  }

  get size(): number {
    return this.#size;
  }

  /** `isOld`: it was accepted before a restart, or was leased already: such workers exist. */
  add(run: Run, isOld = false): void {
    const queue = this.#queues.obtain(run.requirements);
    queue.add(run);
    if (isOld) queue.wasMatched = true;
    this.#size += 1;
    this.#isDue = true;
  }

  remove(run: Run): void {
    const queue = this.#queues.find(run.requirements);
    if (!queue) return;
    const before = queue.size;
    queue.remove(run);
    this.#size -= before - queue.size;
    if (queue.size > 0) return;
    if (queue.unblocked()) this.#isDue = true;
    this.#reasons.delete(queue);
    this.#queues.rest(queue);
  }

  /** Changes what decides where a queued run stands. */
  change(run: Run, act: () => void): void {
    const queue = this.#queues.find(run.requirements);
    queue?.remove(run);
    act();
    queue?.add(run);
    this.#isDue = true;
  }

  /** The invocation's runs stopped: it has less than was thought. */
  cheaper(invocation: Invocation): void {
    for (const queue of this.#queues.values()) {
      for (const group of queue.groups()) group.cheaper(invocation);
    }
  }

  /** Counts the worker among those who can run something, or no longer, as it is open or not. */
  update(worker: Worker): void {
    this.#workers.update(worker);
    this.#consider(worker);
  }

  /** The worker is not known any more. */
  forget(worker: Worker): void {
    this.#workers.forget(worker);
    this.#consider(worker);
  }

  /** Something happened to the worker: it may have a free slot now, or none any more. */
  touch(worker: Worker): void {
    this.#touched.add(worker);
  }

  /**
   * Gives runs to workers with free slots until one of them runs out: whichever invocation had least goes
   * first, with its most urgent run.
   */
  assign(give: (run: Run, worker: Worker) => void): void {
    this.#lookAtTouched();
    if (!this.#isDue) return;
    this.#isDue = false;
    let groups = this.#groupsThatMayGo();
    while (this.#freeSlots.size > 0) {
      const next = this.#findNext(groups);
      if (!next) break;
      const { run, invocation, group, queue } = next;
      const kind = run.request.affinityKey;
      const worker = queue.findWorker(run, this.#freeSlots, this.#familiar.of(kind));
      if (!worker) {
        groups.delete(group);
        this.#notePossibleBlock(queue);
        continue;
      }
      const isReleased = queue.unblocked();
      this.remove(run);
      this.#options.invocations.serve(invocation, worker, this.#options.time.now);
      this.#familiar.ran(kind, worker.id);
      run.invocation = invocation;
      give(run, worker);
      this.#look(worker);
      if (isReleased) groups = this.#groupsThatMayGo();
    }
    this.#isDue = false;
  }

  /** Why the run is still queued, for people. */
  explain(run: Run): string {
    const queue = this.#queues.find(run.requirements);
    const known = queue && run.avoided.size === 0 ? this.#reasons.get(queue) : undefined;
    if (known !== undefined) return known;
    const reason = explainWaiting({
      run,
      queue,
      known: this.#workers.all(),
      freeSlots: this.#freeSlots,
    });
    if (queue && run.avoided.size === 0) this.#reasons.set(queue, reason);
    return reason;
  }

  /** Which workers have free slots must be what is noted, and no worker is kept for nobody; for simulations. */
  verify(): void {
    const queues = new Set<object>(this.#queues.values());
    const { open } = this.#workers;
    for (const worker of open) {
      assert.equal(this.#freeSlots.get(worker) ?? 0, Math.max(0, worker.freeSlots));
      const { reservedFor } = worker;
      assert.ok(!reservedFor || queues.has(reservedFor), `${worker.id} is kept for nobody`);
    }
    for (const worker of this.#freeSlots.keys()) assert.ok(open.has(worker));
    this.#queues.verify();
  }

  #lookAtTouched(): void {
    for (const worker of this.#touched) {
      this.#look(worker);
      if (this.#freeSlots.has(worker)) this.#isDue = true;
    }
    this.#touched.clear();
  }

  #look(worker: Worker): void {
    const free = worker.freeSlots;
    if (free > 0) this.#freeSlots.set(worker, free);
    else this.#freeSlots.delete(worker);
    this.#reasons.clear();
  }

  /** With the queue of each. */
  #groupsThatMayGo(): Map<Group, PlatformQueue> {
    const groups = new Map<Group, PlatformQueue>();
    if (this.#freeSlots.size === 0) return groups;
    for (const queue of this.#queues.values()) {
      if (!queue.hasAny(this.#freeSlots)) continue;
      for (const group of queue.groups()) groups.set(group, queue);
    }
    return groups;
  }

  #findNext(groups: ReadonlyMap<Group, PlatformQueue>): NextRun | undefined {
    const { now } = this.#options.time;
    let next: NextRun | undefined;
    for (const [group, queue] of groups) {
      const turn = group.first(now);
      if (!turn || (next && turn.used > next.used)) continue;
      if (next?.used === turn.used && this.#isBefore(next.run, turn.run)) continue;
      next = { ...turn, queue };
    }
    return next;
  }

  #notePossibleBlock(queue: PlatformQueue): void {
    const { time, limits } = this.#options;
    if (queue.requirements.amounts.size === 0) return;
    if (queue.hasAny(this.#freeSlots)) queue.blocked(time.now, limits.reserveAfterMs);
  }

  #consider(worker: Worker): void {
    this.touch(worker);
    this.#reasons.clear();
    this.#queues.update(worker);
  }
}
