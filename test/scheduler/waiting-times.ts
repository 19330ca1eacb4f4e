import assert from 'node:assert/strict';
import type { WorkerView } from '../../src/scheduler/administration.ts';
import type { ActionRequest } from '../../src/scheduler/operations.ts';
import type { StoredRun } from '../../src/scheduler/operation-rows.ts';
import type { SchedulerOptions } from '../../src/scheduler/scheduler-options.ts';

/** How long each run has waited for a worker that could run it: not longer than the grace without an end. */
export class WaitingTimes {
  readonly #limits: Pick<SchedulerOptions, 'unmatchedGraceMs' | 'pauseMs'>;
  /** By the id of the run. */
  #waitedMs = new Map<string, number>();
  #lookedAt: number;
  /** Workers that could be given something since the last check; undefined when nothing happened. */
  #seen: WorkerView[] | undefined;
  #passedMs = 0;

  /** `limits` of a scheduler that starts `now`: it gives all the whole grace. */
  constructor(limits: Pick<SchedulerOptions, 'unmatchedGraceMs' | 'pauseMs'>, now: number) {
    this.#limits = limits;
    this.#lookedAt = now;
  }

  /** To be called whenever the scheduler did something. Who is there for a moment starts the grace anew. */
  see(workers: readonly WorkerView[], now: number): void {
    const passedMs = now - this.#lookedAt;
    this.#lookedAt = now;
    // Nobody is late when the scheduler stood still.
    if (passedMs >= 0 && passedMs <= this.#limits.pauseMs) this.#passedMs += passedMs;
    const open = workers.filter(
      ({ isConnected, isDraining, isDrained, isTerminating }) =>
        isConnected && !isDraining && !isDrained && !isTerminating,
    );
    this.#seen = [...(this.#seen ?? []), ...open];
  }

  /** To be called whenever that was written. */
  check(runs: Iterable<StoredRun>): void {
    const [seen, passedMs, before] = [this.#seen, this.#passedMs, this.#waitedMs];
    if (!seen) return;
    const { unmatchedGraceMs } = this.#limits;
    this.#waitedMs = new Map();
    this.#seen = undefined;
    this.#passedMs = 0;
    for (const { id, lease, request } of runs) {
      if (lease || seen.some((worker) => canRun(worker, request))) continue;
      const known = before.get(id);
      const waitedMs = known === undefined ? 0 : known + passedMs;
      this.#waitedMs.set(id, waitedMs);
      const late = `${id} waits for ${waitedMs} ms, no worker can run it, and nobody was told`;
      assert.ok(waitedMs <= unmatchedGraceMs, late);
    }
  }
}

function canRun({ offered }: WorkerView, { properties }: ActionRequest): boolean {
  return properties.every(({ name, value }) => {
    const capacity = offered.capacities.get(name);
    return capacity === undefined
      ? offered.values.get(name)?.has(value)
      : Number(value) <= capacity;
  });
}
