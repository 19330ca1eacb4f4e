import type { Deadline } from './deadlines.ts';
import { Group, type Standing } from './group.ts';
import { countPreferred, type Requirements } from './platform.ts';
import type { Run } from './run.ts';
import type { Worker } from './worker.ts';

/** Queued runs of equal requirements, and the open workers that can run them. */
export class PlatformQueue {
  readonly requirements: Requirements;
  readonly workers = new Set<Worker>();
  readonly #isBefore: (a: Run, b: Run) => boolean;
  readonly #groups = new Map<string, Group>();
  /** Where each run stands: in a line of each invocation that asked for it. */
  readonly #standings = new Map<Run, readonly Standing[]>();
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
    return this.#standings.size;
  }

  runs(): Run[] {
    return [...this.#standings.keys()];
  }

  groups(): Iterable<Group> {
    return this.#groups.values();
  }

  add(run: Run): void {
    const group = this.#groupOf(run);
    const standings = run.invocations.map((invocation) => group.add(run, invocation));
    this.#standings.set(run, standings);
  }

  remove(run: Run): void {
    for (const standing of this.#standings.get(run) ?? []) {
      const { group } = standing;
      group.remove(standing);
      if (group.isEmpty) this.#groups.delete(keyOf(group.avoided));
    }
    this.#standings.delete(run);
  }

  /** Whether one of those workers can run them, whatever is left of it. */
  hasAny(workers: ReadonlyMap<Worker, number>): boolean {
    if (this.workers.size < workers.size) {
      for (const worker of this.workers) if (workers.has(worker)) return true;
    } else {
      for (const worker of workers.keys()) if (this.workers.has(worker)) return true;
    }
    return false;
  }

  /**
   * Of the workers with free slots one that has room for the run and may run it: of those that meet most
   * of its preferences the freest of the `familiar` ones, which ran its kind before and so have most of
   * its inputs, else the freest. A worker where the run has failed serves only if there is no other, busy
   * ones included.
   */
  findWorker(
    run: Run,
    freeSlots: ReadonlyMap<Worker, number>,
    familiar: readonly string[],
  ): Worker | undefined {
    const isAvoidable = this.#isAvoidable(run.avoided);
    const { preferences } = run.requirements;
    let best: Worker | undefined;
    let bestWorth = -1;
    for (const [worker, free] of freeSlots) {
      if (!this.workers.has(worker) || (isAvoidable && run.avoided.has(worker.id))) continue;
      if (worker.reservedFor !== undefined && worker.reservedFor !== this) continue;
      const preferred =
        preferences.length === 0 ? 0 : countPreferred(run.requirements, worker.offered);
      const isFamiliar = familiar.length > 0 && familiar.includes(worker.id);
      const worth = (2 * preferred + (isFamiliar ? 1 : 0)) * slotsBeyond + free;
      if (worth <= bestWorth || !worker.hasRoomFor(run.requirements)) continue;
      best = worker;
      bestWorth = worth;
    }
    return best;
  }

  /** Whether the run, if it met that worker with room, would go there. */
  maySend(avoided: ReadonlySet<string>, worker: Worker): boolean {
    return !avoided.has(worker.id) || !this.#isAvoidable(avoided);
  }

  /**
   * Its first run found workers with a free slot and none with room. Whoever takes much of a worker would
   * wait for ever while small ones take what gets free: after `reserveAfterMs` one worker is kept for it.
   */
  blocked(now: number, reserveAfterMs: number): void {
    this.#blockedAt ??= now;
    if (this.#reserved && !this.#suits(this.#reserved)) this.#release();
    if (this.#reserved || now < this.#blockedAt + reserveAfterMs) return;
    let chosen: Worker | undefined;
    for (const worker of this.workers) {
      if (worker.reservedFor || !this.#suits(worker)) continue;
      if (!chosen || comesFreeSooner(worker, chosen)) chosen = worker;
    }
    this.#reserved = chosen;
    if (chosen) chosen.reservedFor = this;
  }

  /** One of its runs has got a worker, or none waits any more. Whether others may have one that was kept. */
  unblocked(): boolean {
    this.#blockedAt = undefined;
    return this.#release();
  }

  #release(): boolean {
    const released = this.#reserved;
    if (released) released.reservedFor = undefined;
    this.#reserved = undefined;
    return released !== undefined;
  }

  /** Some of the runs would go there. */
  #suits(worker: Worker): boolean {
    for (const { avoided } of this.#groups.values()) {
      if (this.maySend(avoided, worker)) return true;
    }
    return false;
  }

  #isAvoidable(avoided: ReadonlySet<string>): boolean {
    if (avoided.size === 0 || this.workers.size > avoided.size) return avoided.size > 0;
    return [...this.workers].some(({ id }) => !avoided.has(id));
  }

  #groupOf({ avoided }: Run): Group {
    const key = keyOf(avoided);
    const known = this.#groups.get(key);
    if (known) return known;
    const group = new Group(new Set(avoided), this.#isBefore);
    this.#groups.set(key, group);
    return group;
  }
}

/** More than any worker has: what weighs more than free slots counts in these. */
const slotsBeyond = 1e6;

function keyOf(avoided: ReadonlySet<string>): string {
  return avoided.size === 0 ? '' : JSON.stringify([...avoided].toSorted());
}

function comesFreeSooner(worker: Worker, other: Worker): boolean {
  const isResting = worker.rest !== undefined;
  if (isResting !== (other.rest !== undefined)) return !isResting;
  return worker.busySlots < other.busySlots;
}
