import assert from 'node:assert/strict';
import type { HeldLease } from '../proto/expbuild/worker/v1/worker.ts';
import type { ActionRequest } from './operations.ts';
import type { GivenLease, Run } from './run.ts';

/** The runs that are not over, as others find them: by id, by what was asked for, by lease. */
export class RunIndex {
  readonly #byId = new Map<string, Run>();
  /** Those that a request for the same action may join. */
  readonly #joinable = new Map<string, Run>();
  /** By its id, the latest lease of each run that had one. */
  readonly #leases = new Map<string, GivenLease>();
  #platformChars = 0;

  /** Of the platform properties of all of them. */
  get platformChars(): number {
    return this.#platformChars;
  }

  values(): Iterable<Run> {
    return this.#byId.values();
  }

  find(id: string): Run | undefined {
    return this.#byId.get(id);
  }

  /** One that the request may share (EXE-35, EXE-36). */
  findJoinable(request: ActionRequest): Run | undefined {
    return request.doNotCache ? undefined : this.#joinable.get(joinKeyOf(request));
  }

  /**
   * The lease whose result a worker brings, if that may still be stored: no later lease was given, and
   * the run has not ended. Undefined for any other, and for leases of other workers (SC-09).
   */
  findLease(workerId: string, { leaseId, epoch }: HeldLease): GivenLease | undefined {
    const lease = this.#leases.get(leaseId);
    return lease?.workerId === workerId && lease.epoch === epoch ? lease : undefined;
  }

  add(run: Run): void {
    this.#byId.set(run.id, run);
    this.#platformChars += platformCharsOf(run.request);
    if (!run.request.doNotCache) this.#joinable.set(joinKeyOf(run.request), run);
  }

  /** The run's latest lease is this one. */
  setLease(run: Run, lease: GivenLease): void {
    if (run.latestLease) this.#leases.delete(run.latestLease.id);
    run.latestLease = lease;
    this.#leases.set(lease.id, lease);
  }

  /** Whoever brings the result of the lease brings nothing. */
  forgetLease({ id }: GivenLease): void {
    this.#leases.delete(id);
  }

  remove(run: Run): void {
    if (this.#byId.delete(run.id)) this.#platformChars -= platformCharsOf(run.request);
    if (run.latestLease) this.forgetLease(run.latestLease);
    const key = joinKeyOf(run.request);
    // It stands there unless it was not to be shared (SC-12).
    if (this.#joinable.get(key) === run) this.#joinable.delete(key);
  }

  /** States what only a bug can break; for simulations. */
  verify(): void {
    const chars = [...this.#byId.values()].map(({ request }) => platformCharsOf(request));
    assert.equal(
      this.#platformChars,
      chars.reduce((sum, one) => sum + one, 0),
    );
    for (const run of this.#byId.values()) {
      assert.ok(run.operations.size > 0, `run ${run.id} has no operation`);
      assert.notEqual(run.place.kind, 'ended');
      if ('lease' in run.place) assert.equal(run.place.lease, run.latestLease);
    }
    for (const { id, run } of this.#leases.values()) {
      assert.equal(this.#byId.get(run.id)?.latestLease?.id, id, `lease ${id} is superseded`);
    }
    for (const [key, run] of this.#joinable) {
      assert.equal(this.#byId.get(run.id), run, `${key} may be joined, but is not live`);
    }
  }
}

/** Of all names and values. */
export function platformCharsOf({ properties }: Pick<ActionRequest, 'properties'>): number {
  return properties.reduce((sum, { name, value }) => sum + name.length + value.length, 0);
}

function joinKeyOf({ instanceName, action }: ActionRequest): string {
  return `${instanceName} ${action.key}`;
}
