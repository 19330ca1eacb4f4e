import assert from 'node:assert/strict';
import type { Deadlines } from './deadlines.ts';
import type { KnownWorkers } from './known-workers.ts';
import { matches, type Requirements } from './platform.ts';
import { PlatformQueue } from './platform-queue.ts';
import type { Run } from './run.ts';
import type { SchedulerOptions } from './scheduler-options.ts';
import type { SteadyTime } from './steady-time.ts';
import type { Worker } from './worker.ts';

export interface PlatformQueuesOptions {
  readonly time: SteadyTime;
  readonly deadlines: Deadlines;
  readonly limits: Pick<SchedulerOptions, 'unmatchedGraceMs'>;
  readonly knownWorkers: KnownWorkers;
  /** Orders the runs of one invocation. */
  readonly isBefore: (a: Run, b: Run) => boolean;
  /** Told when no worker could run the queue's runs for the whole grace. */
  readonly onUnmatched: (queue: PlatformQueue) => void;
  /** Told when a queue's runs wait for a worker that matches, or no longer do. */
  readonly onChanged: (run: Run) => void;
}

/**
 * Empty queues that still know their workers: builds come back with the same platforms, and to match them
 * with a thousand workers takes 0.4 ms.
 */
const restingMax = 100;

/** The queue of each platform asked for, and which open workers match it. */
export class PlatformQueues {
  readonly #options: PlatformQueuesOptions;
  readonly #inUse = new Map<string, PlatformQueue>();
  /** Those that were emptied longest ago first. */
  readonly #resting = new Map<string, PlatformQueue>();

  constructor(options: PlatformQueuesOptions) {
    this.#options = options;
  }

  /** Those with runs in them. */
  values(): Iterable<PlatformQueue> {
    return this.#inUse.values();
  }

  find({ key }: Requirements): PlatformQueue | undefined {
    return this.#inUse.get(key);
  }

  /** The queue for the requirements; the caller puts a run into it. */
  obtain(requirements: Requirements): PlatformQueue {
    return this.find(requirements) ?? this.#open(requirements);
  }

  /** The queue is empty: nobody waits for a worker. */
  rest(queue: PlatformQueue): void {
    const { key } = queue.requirements;
    queue.unmatched?.cancel();
    queue.unmatched = undefined;
    this.#inUse.delete(key);
    this.#resting.set(key, queue);
    if (this.#resting.size <= restingMax) return;
    const [oldest] = this.#resting.keys();
    if (oldest !== undefined) this.#resting.delete(oldest);
  }

  /** The worker came, went, or is another than before. */
  update(worker: Worker): void {
    for (const queue of this.#inUse.values()) {
      match(queue, worker);
      this.#watchUnmatched(queue);
    }
    for (const queue of this.#resting.values()) match(queue, worker);
  }

  /** Each queue must know just the open workers that match it; for simulations. */
  verify(): void {
    for (const queue of this.#inUse.values()) {
      assert.ok(queue.size > 0, 'a queue is empty');
      const isWatched = queue.unmatched !== undefined;
      assert.equal(isWatched, queue.workers.size === 0, 'who cannot run is told after the grace');
    }
    const { open } = this.#options.knownWorkers;
    for (const { requirements, workers } of [...this.#inUse.values(), ...this.#resting.values()]) {
      const fit = [...open].filter(({ offered }) => matches(requirements, offered));
      assert.deepEqual(workers, new Set(fit), `the workers for ${requirements.key}`);
    }
  }

  #open(requirements: Requirements): PlatformQueue {
    const { key } = requirements;
    const { isBefore, knownWorkers } = this.#options;
    const rested = this.#resting.get(key);
    const queue = rested ?? new PlatformQueue(requirements, isBefore);
    this.#resting.delete(key);
    this.#inUse.set(key, queue);
    if (rested) rested.wasMatched = rested.workers.size > 0;
    else for (const worker of knownWorkers.open) match(queue, worker);
    this.#watchUnmatched(queue);
    return queue;
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

function match(queue: PlatformQueue, worker: Worker): void {
  if (worker.isOpen && matches(queue.requirements, worker.offered)) {
    queue.workers.add(worker);
    queue.wasMatched = true;
    return;
  }
  queue.workers.delete(worker);
  if (worker.reservedFor === queue) queue.unblocked();
}
