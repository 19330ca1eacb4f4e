import type { WorkerWish } from './administration.ts';
import type { Changes } from './changes.ts';
import type { StoredScheduler } from './operation-rows.ts';
import type { SchedulerOptions } from './scheduler-options.ts';
import type { Worker } from './worker.ts';

export interface WorkerWishesOptions {
  readonly changes: Changes;
  readonly limits: Pick<SchedulerOptions, 'drainedAwayMax'>;
  /** The workers that are known. */
  readonly workers: ReadonlyMap<string, Worker>;
}

/** What operators want of workers, through restarts of the scheduler. */
export class WorkerWishes {
  readonly #options: WorkerWishesOptions;
  /** Workers that get nothing, until an operator says otherwise; they need not be here. */
  readonly #drained: Set<string>;
  /** By their names, the starts of workers that are to end, until they have. */
  readonly #terminating: Map<string, string>;

  constructor(
    options: WorkerWishesOptions,
    stored: Pick<StoredScheduler, 'drainedWorkers' | 'terminatingWorkers'>,
  ) {
    this.#options = options;
    this.#drained = new Set(stored.drainedWorkers);
    this.#terminating = new Map(
      stored.terminatingWorkers.map(({ workerId, bootId }) => [workerId, bootId]),
    );
  }

  /** Tells a worker that came what was wished of it before. */
  remind(worker: Worker): void {
    worker.isDrained = this.#drained.has(worker.id);
    worker.isTerminating = this.#terminating.get(worker.id) === worker.bootId;
  }

  take(worker: Worker, wish: WorkerWish): void {
    const { changes } = this.#options;
    if (wish === 'terminate') {
      this.#terminating.set(worker.id, worker.bootId);
      changes.terminatingWorkers(this.#terminating);
    } else {
      this.#drained.delete(worker.id);
      if (wish === 'drain') this.#drained.add(worker.id);
      this.#forgetAway();
      changes.drainedWorkers(this.#drained);
    }
    this.remind(worker);
  }

  /** Those of these names that were drained and are not here; they are so no more. */
  undrainAway(ids: ReadonlySet<string>): string[] {
    const { changes, workers } = this.#options;
    const away = [...this.#drained].filter((id) => ids.has(id) && !workers.has(id));
    for (const id of away) this.#drained.delete(id);
    if (away.length > 0) changes.drainedWorkers(this.#drained);
    return away;
  }

  /** Forgets the wish that a process ends, for processes that are not here any more. */
  forgetEnded(): void {
    const before = this.#terminating.size;
    for (const [id, bootId] of this.#terminating) {
      if (this.#options.workers.get(id)?.bootId !== bootId) this.#terminating.delete(id);
    }
    if (this.#terminating.size < before)
      this.#options.changes.terminatingWorkers(this.#terminating);
  }

  /** Those drained first go first. */
  #forgetAway(): void {
    const { workers, limits } = this.#options;
    const away = [...this.#drained].filter((id) => !workers.has(id));
    const tooMany = Math.max(0, away.length - limits.drainedAwayMax);
    for (const id of away.slice(0, tooMany)) this.#drained.delete(id);
  }
}
