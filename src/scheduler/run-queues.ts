import { amountText } from './amounts.ts';
import type { Deadlines } from './deadlines.ts';
import type { Invocations } from './invocations.ts';
import { explainUnmatched, matches, type Offered } from './platform.ts';
import { PlatformQueue } from './platform-queue.ts';
import { comesBefore, type Run } from './run.ts';
import type { SchedulerOptions } from './scheduler-options.ts';
import type { SteadyTime } from './steady-time.ts';
import type { Worker } from './worker.ts';

/** Runs that wait for another worker, of those that could go to a free one, looked at in one pass. */
const setAsideMax = 100;

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

/** All queued runs, one queue for each platform asked for, and who could run them. */
export class RunQueues {
  readonly #options: RunQueuesOptions;
  readonly #queues = new Map<string, PlatformQueue>();
  readonly #workers = new Set<Worker>();
  readonly #isBefore: (a: Run, b: Run) => boolean;
  #size = 0;
  /** Something happened since the last pass that may let a run go. */
  #isDue = false;

  constructor(options: RunQueuesOptions) {
    this.#options = options;
    this.#isBefore = comesBefore(options.limits.priorityPointMs);
  }

  get size(): number {
    return this.#size;
  }

  add(run: Run): void {
    const queue = this.#queues.get(run.requirements.key) ?? this.#open(run);
    queue.add(run);
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
    queue.unblocked();
    queue.unmatched?.cancel();
    this.#queues.delete(run.requirements.key);
  }

  /** Counts the worker among those who can run something, or no longer, as it is open or not. */
  update(worker: Worker): void {
    if (worker.isOpen) this.#workers.add(worker);
    else this.#workers.delete(worker);
    for (const queue of this.#queues.values()) this.#consider(queue, worker);
    this.#isDue = true;
  }

  /** A worker may have a free slot now. */
  freed(): void {
    this.#isDue = true;
  }

  /** What the workers offer that can be given something. */
  offers(): Offered[] {
    return [...this.#workers].map(({ offered }) => offered);
  }

  /**
   * Gives runs to workers with free slots until one of them runs out: whichever invocation had least goes
   * first, with its most urgent run.
   */
  assign(give: (run: Run, worker: Worker) => void): void {
    if (!this.#isDue) return;
    this.#isDue = false;
    const freeSlots = new Map<Worker, number>();
    for (const worker of this.#workers) {
      if (worker.freeSlots > 0) freeSlots.set(worker, worker.freeSlots);
    }
    const aside: Run[] = [];
    while (freeSlots.size > 0) {
      const next = this.#findNext(freeSlots, aside);
      if (!next) break;
      this.#queues.get(next.run.requirements.key)?.unblocked();
      this.remove(next.run);
      this.#options.invocations.serve(next.run.invocation, this.#options.time.now);
      give(next.run, next.worker);
      const free = next.worker.freeSlots;
      if (free > 0) freeSlots.set(next.worker, free);
      else freeSlots.delete(next.worker);
    }
    for (const run of aside) this.add(run);
    this.#isDue = false;
  }

  /** Why the run is still queued, for people. */
  explain(run: Run): string {
    const queue = this.#queues.get(run.requirements.key);
    if (!queue || queue.workers.size === 0) {
      return explainUnmatched(run.requirements, this.offers());
    }
    const workers = [...queue.workers];
    const { requirements } = queue;
    const count =
      workers.length === 1
        ? 'the one worker that can run it is'
        : `the ${workers.length} workers that can run it are`;
    const needs = [...requirements.amounts].map(
      ([name, amount]) => `${name}=${amountText(amount)}`,
    );
    const isShort = workers.some((worker) => worker.freeSlots > 0);
    if (isShort && needs.length > 0) return `${count} busy: none has ${needs.join(' and ')} left`;
    return `${count} busy`;
  }

  #findNext(freeSlots: ReadonlyMap<Worker, number>, aside: Run[]) {
    let next: { run: Run; worker: Worker } | undefined;
    for (const queue of this.#queues.values()) {
      if (queue.workers.size === 0) continue;
      const candidate = this.#findCandidate(queue, freeSlots, aside);
      if (candidate && (!next || this.#goesFirst(candidate.run, next.run))) next = candidate;
    }
    return next;
  }

  #goesFirst(run: Run, other: Run): boolean {
    const { now } = this.#options.time;
    const difference =
      run.invocation.afterNext(run.priority, now) - other.invocation.afterNext(other.priority, now);
    return difference === 0 ? this.#isBefore(run, other) : difference < 0;
  }

  /** The first run of the queue for which a worker is free; those that avoid it step aside. */
  #findCandidate(queue: PlatformQueue, freeSlots: ReadonlyMap<Worker, number>, aside: Run[]) {
    for (;;) {
      let run: Run | undefined;
      for (const head of queue.heads()) if (!run || this.#goesFirst(head, run)) run = head;
      if (!run) return undefined;
      const worker = queue.findWorker(run, freeSlots);
      if (worker) return { run, worker };
      if (run.avoided.size === 0 || aside.length >= setAsideMax) {
        this.#notePossibleBlock(queue, freeSlots);
        return undefined;
      }
      aside.push(run);
      this.remove(run);
    }
  }

  #notePossibleBlock(queue: PlatformQueue, freeSlots: ReadonlyMap<Worker, number>): void {
    const { time, limits } = this.#options;
    if (queue.requirements.amounts.size === 0) return;
    if (![...queue.workers].some((worker) => freeSlots.has(worker))) return;
    queue.blocked(time.now, limits.reserveAfterMs);
  }

  #open(run: Run): PlatformQueue {
    const queue = new PlatformQueue(run.requirements, this.#isBefore);
    this.#queues.set(run.requirements.key, queue);
    for (const worker of this.#workers) this.#consider(queue, worker);
    this.#watchUnmatched(queue);
    return queue;
  }

  #consider(queue: PlatformQueue, worker: Worker): void {
    if (worker.isOpen && matches(queue.requirements, worker.offered)) {
      queue.workers.add(worker);
      queue.wasMatched = true;
    } else {
      queue.workers.delete(worker);
      if (worker.reservedFor === queue) queue.unblocked();
    }
    this.#watchUnmatched(queue);
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
