import type { Deadline } from './deadlines.ts';
import { Heap, type HeapEntry } from './heap.ts';
import { countPreferred, type Requirements } from './platform.ts';
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
  /** Since when its first run has found no room. */
  #blockedAt: number | undefined;
  /** The worker that is kept free for it. */
  #reserved: Worker | undefined;
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
   * Of the workers with free slots one that has room for the run and may run it: of those that meet most
   * of its preferences the freest that ran its kind before and so has most of its inputs, else the
   * freest. A worker where the run has failed serves only if there is no other, busy ones included.
   */
  findWorker(run: Run, freeSlots: ReadonlyMap<Worker, number>): Worker | undefined {
    const isAvoidable =
      run.avoided.size > 0 && [...this.workers].some(({ id }) => !run.avoided.has(id));
    let best: { worker: Worker; worth: readonly number[] } | undefined;
    for (const [worker, free] of freeSlots) {
      if (!this.workers.has(worker) || (isAvoidable && run.avoided.has(worker.id))) continue;
      if (worker.reservedFor !== undefined && worker.reservedFor !== this) continue;
      const preferred = countPreferred(run.requirements, worker.offered);
      const worth = [preferred, worker.hasRun(run.request.affinityKey) ? 1 : 0, free];
      if (best && !isMore(worth, best.worth)) continue;
      if (worker.hasRoomFor(run.requirements)) best = { worker, worth };
    }
    return best?.worker;
  }

  /**
   * Its first run found workers with a free slot and none with room. Whoever takes much of a worker would
   * wait for ever while small ones take what gets free: after `reserveAfterMs` one worker is kept for it.
   */
  blocked(now: number, reserveAfterMs: number): void {
    this.#blockedAt ??= now;
    if (this.#reserved || now < this.#blockedAt + reserveAfterMs) return;
    for (const worker of this.workers) {
      if (worker.reservedFor) continue;
      if (!this.#reserved || worker.busySlots < this.#reserved.busySlots) this.#reserved = worker;
    }
    if (this.#reserved) this.#reserved.reservedFor = this;
  }

  /** One of its runs has got a worker, or none waits any more. */
  unblocked(): void {
    this.#blockedAt = undefined;
    if (this.#reserved) this.#reserved.reservedFor = undefined;
    this.#reserved = undefined;
  }
}

/** The first numbers that differ tell. */
function isMore(one: readonly number[], other: readonly number[]): boolean {
  const at = one.findIndex((value, n) => value !== other[n]);
  return at >= 0 && (one[at] ?? 0) > (other[at] ?? 0);
}
