import assert from 'node:assert/strict';
import { Code, StatusError } from '../base/status.ts';
import type { Deadlines } from './deadlines.ts';
import { FamiliarWorkers } from './familiar-workers.ts';
import type { Invocation, Invocations } from './invocations.ts';
import { FormerOffers } from './former-offers.ts';
import type { Group, Turn } from './group.ts';
import {
  findNoAmount,
  matches,
  nothingOffered,
  type Offered,
  type Requirements,
} from './platform.ts';
import { PlatformQueue } from './platform-queue.ts';
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
  /** Told when no worker could run the queue's runs for the whole grace. */
  readonly onUnmatched: (queue: PlatformQueue) => void;
  /** Told when a queued run waits for another reason than before. */
  readonly onChanged: (run: Run) => void;
}

/**
 * Empty queues that still know their workers: builds come back with the same platforms, and to match them
 * with a thousand workers takes 0.4 ms.
 */
const restingMax = 100;

/** All queued runs, one queue for each platform asked for, and who could run them. */
export class RunQueues {
  readonly #options: RunQueuesOptions;
  readonly #queues = new Map<string, PlatformQueue>();
  /** Those that were emptied longest ago first. */
  readonly #resting = new Map<string, PlatformQueue>();
  /** Workers that may be given something, now or later. */
  readonly #open = new Set<Worker>();
  /** Those that are known, and may not: drained, shutting down, away. */
  readonly #closed = new Set<Worker>();
  readonly #former = new FormerOffers();
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
    this.#isBefore = comesBefore(options.limits.priorityPointMs);
  }

  get size(): number {
    return this.#size;
  }

  /** `isOld`: it was accepted before a restart, or was leased already: such workers exist. */
  add(run: Run, isOld = false): void {
    const queue = this.#queues.get(run.requirements.key) ?? this.#openQueue(run);
    queue.add(run);
    if (isOld) queue.wasMatched = true;
    this.#size += 1;
    this.#isDue = true;
  }

  remove(run: Run): void {
    const queue = this.#queues.get(run.requirements.key);
    if (!queue) return;
    const before = queue.size;
    queue.remove(run);
    this.#size -= before - queue.size;
    if (queue.size > 0) return;
    if (queue.unblocked()) this.#isDue = true;
    queue.unmatched?.cancel();
    queue.unmatched = undefined;
    this.#queues.delete(run.requirements.key);
    this.#reasons.delete(queue);
    this.#rest(queue);
  }

  /** Changes what decides where a queued run stands. */
  change(run: Run, act: () => void): void {
    const queue = this.#queues.get(run.requirements.key);
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
    (worker.isOpen ? this.#closed : this.#open).delete(worker);
    (worker.isOpen ? this.#open : this.#closed).add(worker);
    this.#consider(worker);
  }

  /** The worker is not known any more. */
  forget(worker: Worker): void {
    this.#open.delete(worker);
    this.#closed.delete(worker);
    this.#former.add(worker.offered);
    this.#consider(worker);
  }

  /** Something happened to the worker: it may have a free slot now, or none any more. */
  touch(worker: Worker): void {
    this.#touched.add(worker);
  }

  /** What the workers offer that are known. */
  offers(): Offered[] {
    return [...this.#open, ...this.#closed].map(({ offered }) => offered);
  }

  /** Fails with INVALID_ARGUMENT when no wait can help, for what is asked of the workers is no amount. */
  refuseNoAmount(requirements: Requirements): void {
    const wrong = findNoAmount(requirements, this.offers());
    if (!wrong) return;
    const { name, value } = wrong;
    const why = `platform property ${name}=${value.slice(0, 200)} is no amount, such as 2, 500m or 4GiB`;
    throw new StatusError(Code.INVALID_ARGUMENT, why);
  }

  /** A worker that may be given something, now or later, has what is required. */
  hasOpen(requirements: Requirements): boolean {
    return [...this.#open].some(({ offered }) => matches(requirements, offered));
  }

  /** A worker that could run the queue's runs is known, or was not long ago. */
  mayBeMatched({ wasMatched, requirements }: PlatformQueue): boolean {
    return (
      wasMatched ||
      // Of those of before a restart it is not known yet.
      this.offers().some(
        (offered) => offered === nothingOffered || matches(requirements, offered),
      ) ||
      this.#former.hasAny(requirements)
    );
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
      const { run, invocation, group } = next;
      const kind = run.request.affinityKey;
      const worker = group.queue.findWorker(run, this.#freeSlots, this.#familiar.of(kind));
      if (!worker) {
        groups.delete(group);
        this.#notePossibleBlock(group.queue);
        continue;
      }
      const isReleased = group.queue.unblocked();
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
    const queue = this.#queues.get(run.requirements.key);
    const known = queue && run.avoided.size === 0 ? this.#reasons.get(queue) : undefined;
    if (known !== undefined) return known;
    const reason = explainWaiting({
      run,
      queue,
      known: [...this.#open, ...this.#closed],
      freeSlots: this.#freeSlots,
    });
    if (queue && run.avoided.size === 0) this.#reasons.set(queue, reason);
    return reason;
  }

  /** Which workers have free slots must be what is noted, and no worker is kept for nobody; for simulations. */
  verify(): void {
    const queues = new Set<object>(this.#queues.values());
    for (const worker of this.#open) {
      assert.equal(this.#freeSlots.get(worker) ?? 0, Math.max(0, worker.freeSlots));
      const { reservedFor } = worker;
      assert.ok(!reservedFor || queues.has(reservedFor), `${worker.id} is kept for nobody`);
    }
    for (const worker of this.#freeSlots.keys()) assert.ok(this.#open.has(worker));
    for (const queue of this.#queues.values()) {
      assert.ok(queue.size > 0, 'a queue is empty');
      const isWatched = queue.unmatched !== undefined;
      assert.equal(isWatched, queue.workers.size === 0, 'who cannot run is told after the grace');
    }
    for (const { requirements, workers } of [...this.#queues.values(), ...this.#resting.values()]) {
      const fit = [...this.#open].filter(({ offered }) => matches(requirements, offered));
      assert.deepEqual(workers, new Set(fit), `the workers for ${requirements.key}`);
    }
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

  #groupsThatMayGo(): Set<Group> {
    const groups = new Set<Group>();
    if (this.#freeSlots.size === 0) return groups;
    for (const queue of this.#queues.values()) {
      if (!queue.hasAny(this.#freeSlots)) continue;
      for (const group of queue.groups()) groups.add(group);
    }
    return groups;
  }

  #findNext(groups: ReadonlySet<Group>): Turn | undefined {
    const { now } = this.#options.time;
    let next: Turn | undefined;
    for (const group of groups) {
      const turn = group.first(now);
      if (!turn || (next && turn.used > next.used)) continue;
      if (next?.used === turn.used && this.#isBefore(next.run, turn.run)) continue;
      next = turn;
    }
    return next;
  }

  #notePossibleBlock(queue: PlatformQueue): void {
    const { time, limits } = this.#options;
    if (queue.requirements.amounts.size === 0) return;
    if (queue.hasAny(this.#freeSlots)) queue.blocked(time.now, limits.reserveAfterMs);
  }

  #openQueue({ requirements }: Run): PlatformQueue {
    const { key } = requirements;
    const rested = this.#resting.get(key);
    const queue = rested ?? new PlatformQueue(requirements, this.#isBefore);
    this.#resting.delete(key);
    this.#queues.set(key, queue);
    if (rested) rested.wasMatched = rested.workers.size > 0;
    else for (const worker of this.#open) this.#match(queue, worker);
    this.#watchUnmatched(queue);
    return queue;
  }

  #rest(queue: PlatformQueue): void {
    this.#resting.set(queue.requirements.key, queue);
    if (this.#resting.size <= restingMax) return;
    const [oldest] = this.#resting.keys();
    if (oldest !== undefined) this.#resting.delete(oldest);
  }

  #consider(worker: Worker): void {
    this.touch(worker);
    this.#reasons.clear();
    for (const queue of this.#queues.values()) {
      this.#match(queue, worker);
      this.#watchUnmatched(queue);
    }
    for (const queue of this.#resting.values()) this.#match(queue, worker);
  }

  #match(queue: PlatformQueue, worker: Worker): void {
    if (worker.isOpen && matches(queue.requirements, worker.offered)) {
      queue.workers.add(worker);
      queue.wasMatched = true;
      return;
    }
    queue.workers.delete(worker);
    if (worker.reservedFor === queue) queue.unblocked();
  }

  #watchUnmatched(queue: PlatformQueue): void {
    const isUnmatched = queue.workers.size === 0;
    if (isUnmatched === (queue.unmatched !== undefined)) return;
    const { time, deadlines, limits, onUnmatched, onChanged } = this.#options;
    queue.unmatched?.cancel();
    queue.unmatched = isUnmatched
      ? deadlines.add(time.now + limits.unmatchedGraceMs, () => onUnmatched(queue))
      : undefined;
    for (const run of queue.runs()) onChanged(run);
  }
}
