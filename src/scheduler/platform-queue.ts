import type { Deadline } from './deadlines.ts';
import { Heap, type HeapEntry } from './heap.ts';
import type { Requirements } from './platform.ts';
import { isBefore, type Run } from './run.ts';
import type { Worker } from './worker.ts';

/** Queued runs of equal requirements, and the open workers that can run them. */
export class PlatformQueue {
  readonly requirements: Requirements;
  readonly workers = new Set<Worker>();
  readonly #runs = new Heap<Run>(isBefore);
  readonly #entries = new Map<Run, HeapEntry<Run>>();
  /** A worker that could run them was here while they waited. */
  wasMatched = false;
  /** Set while no worker can run them. */
  unmatched: Deadline | undefined;

  constructor(requirements: Requirements) {
    this.requirements = requirements;
  }

  get size(): number {
    return this.#runs.size;
  }

  get first(): Run | undefined {
    return this.#runs.first;
  }

  runs(): Run[] {
    return this.#runs.values();
  }

  add(run: Run): void {
    this.#entries.set(run, this.#runs.add(run));
  }

  remove(run: Run): void {
    const entry = this.#entries.get(run);
    if (!entry) return;
    this.#entries.delete(run);
    this.#runs.remove(entry);
  }

  /**
   * Of the workers with free slots the freest that may run it. A worker where the run has failed
   * serves only if there is no other, busy ones included.
   */
  findWorker(run: Run, freeSlots: ReadonlyMap<Worker, number>): Worker | undefined {
    const isAvoidable =
      run.avoided.size > 0 && [...this.workers].some(({ id }) => !run.avoided.has(id));
    let freest: Worker | undefined;
    let most = 0;
    for (const [worker, free] of freeSlots) {
      if (free <= most || !this.workers.has(worker)) continue;
      if (isAvoidable && run.avoided.has(worker.id)) continue;
      freest = worker;
      most = free;
    }
    return freest;
  }
}
