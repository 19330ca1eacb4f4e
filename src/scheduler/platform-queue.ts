import type { Deadline } from './deadlines.ts';
import { Heap, type HeapEntry } from './heap.ts';
import type { Requirements } from './platform.ts';
import type { Invocation } from './invocations.ts';
import type { Run } from './run.ts';
import type { Worker } from './worker.ts';

/** Queued runs of equal requirements, and the open workers that can run them. */
export class PlatformQueue {
  readonly requirements: Requirements;
  readonly workers = new Set<Worker>();
  readonly #isBefore: (a: Run, b: Run) => boolean;
  readonly #lines = new Map<Invocation, Heap<Run>>();
  readonly #entries = new Map<Run, HeapEntry<Run>>();
  /** A worker that could run them was here while they waited. */
  wasMatched = false;
  /** Set while no worker can run them. */
  unmatched: Deadline | undefined;

  /** `isBefore` orders the runs of one invocation. */
  constructor(requirements: Requirements, isBefore: (a: Run, b: Run) => boolean) {
    this.requirements = requirements;
    this.#isBefore = isBefore;
  }

  get size(): number {
    return this.#entries.size;
  }

  runs(): Run[] {
    return [...this.#entries.keys()];
  }

  /** The most urgent run of each invocation. */
  *heads(): Iterable<Run> {
    for (const { first } of this.#lines.values()) if (first) yield first;
  }

  add(run: Run): void {
    const line = this.#lines.get(run.invocation) ?? new Heap<Run>(this.#isBefore);
    this.#lines.set(run.invocation, line);
    this.#entries.set(run, line.add(run));
  }

  remove(run: Run): void {
    const entry = this.#entries.get(run);
    const line = this.#lines.get(run.invocation);
    if (!entry || !line) return;
    this.#entries.delete(run);
    line.remove(entry);
    if (line.size === 0) this.#lines.delete(run.invocation);
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
