import { Code, StatusError } from '../base/status.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import { allDigestFunctions } from '../digest/digest-functions.ts';
import { Digest } from '../digest/digest.ts';
import type { Executor } from '../executor/executor.ts';
import type { ExecuteResponse } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { HeldLease, HeldLease_Phase, Lease } from '../proto/expbuild/worker/v1/worker.ts';
import { msOf } from '../scheduler/protobuf-time.ts';
import { logEnd, logStart } from './action-log.ts';
import type { Outbox } from './outbox.ts';
import {
  type ActionEnvironment,
  type ActionEvents,
  type LeasedAction,
  type LeftInputs,
  runAction,
} from './run-action.ts';
import { Slots, type SlotsOptions, type SlotUse } from './slots.ts';

export interface HeldLeasesOptions extends SlotsOptions {
  /** The blobs of an instance. */
  readonly blobsOf: (instanceName: string) => BlobStore;
  /** Keeps results until the scheduler no longer wants them. */
  readonly outbox: Outbox;
}

interface Held {
  readonly lease: Lease;
  readonly stop: AbortController;
  /** It has, or had, a slot. */
  hasBegun: boolean;
  state: HeldLease;
}

/**
 * The leases of a worker, each run once, in as many slots as there are executors; and those that an earlier
 * process finished, whose results are in the outbox.
 */
export class HeldLeases {
  readonly #held = new Map<string, Held>();
  readonly #options: HeldLeasesOptions;
  readonly #environment: ActionEnvironment;
  readonly #onChange: () => void;
  readonly #slots: Slots;
  /** Leases that run, and those whose files are being removed. */
  readonly #running = new Set<Promise<void>>();

  /** `onChange` is called when a lease has another phase or is not held any more, or `uncleanWhy` is another. */
  constructor(options: HeldLeasesOptions, environment: ActionEnvironment, onChange: () => void) {
    this.#options = options;
    this.#environment = environment;
    this.#onChange = onChange;
    this.#slots = new Slots(options, environment.clock, () => this.#slotsChanged());
    for (const state of options.outbox.left) {
      const { leaseId, epoch } = state;
      const lease = Lease.fromPartial({ leaseId, epoch });
      this.#held.set(leaseId, { lease, stop: new AbortController(), hasBegun: true, state });
    }
  }

  /** Why a slot still has something of its last action: the worker is then to take nothing new. */
  get uncleanWhy(): string | undefined {
    return this.#slots.uncleanWhy;
  }

  get size(): number {
    return this.#held.size;
  }

  /** Leases that are not done. */
  get unfinished(): number {
    return this.states.filter(({ phase }) => phase !== HeldLease_Phase.PHASE_DONE).length;
  }

  /** Whether the next process will have all that is held. */
  get areKept(): boolean {
    return [...this.#held.keys()].every((id) => this.#options.outbox.keeps(id));
  }

  get states(): HeldLease[] {
    return [...this.#held.values()].map(({ state }) => state);
  }

  /**
   * Starts the leases that are wanted and not held, unless `takesNew` is false, and lets go of those
   * that are held and not wanted: a running one stays until its command is gone.
   */
  reconcile(wanted: readonly Lease[], takesNew: boolean): void {
    const ids = new Set(wanted.map(({ leaseId }) => leaseId));
    for (const [id, held] of this.#held) {
      if (ids.has(id)) continue;
      if (held.state.phase === HeldLease_Phase.PHASE_DONE) this.#letGo(held);
      else held.stop.abort();
    }
    for (const lease of wanted) {
      if (takesNew && !this.#held.has(lease.leaseId)) this.#start(lease);
    }
    this.#onChange();
  }

  /** Takes a slot, once one is free, for something else than a lease. */
  async borrow(use: SlotUse, signal: AbortSignal): Promise<void> {
    const using = this.#slots.hold(use, signal);
    this.#track(using.catch(() => {}));
    await using;
  }

  /** Leases that have no slot yet go back: others may have one. */
  returnWaiting(): void {
    for (const { hasBegun, stop } of this.#held.values()) if (!hasBegun) stop.abort();
  }

  /** Ends every lease that runs; they are then not held any more. What cannot be ended or removed is left. */
  stopAll(): void {
    this.#slots.stop();
    for (const { stop } of this.#held.values()) stop.abort();
  }

  /** Settles once no lease runs and the files of all are gone. */
  async allEnded(): Promise<void> {
    await Promise.all(this.#running);
  }

  #start(lease: Lease): void {
    const { leaseId, epoch } = lease;
    const state = HeldLease.fromPartial({ leaseId, epoch, phase: HeldLease_Phase.PHASE_FETCHING });
    const held = { lease, stop: new AbortController(), hasBegun: false, state };
    this.#held.set(leaseId, held);
    const running = this.#slots
      .hold((executor, folder) => this.#run(held, executor, folder), held.stop.signal)
      // It was let go of before there was a slot for it.
      .catch(() => this.#forget(held));
    this.#track(running);
  }

  #track(running: Promise<void>): void {
    const tracked = running.finally(() => this.#running.delete(tracked));
    this.#running.add(tracked);
  }

  #slotsChanged(): void {
    if (this.uncleanWhy !== undefined) this.returnWaiting();
    this.#onChange();
  }

  async #run(held: Held, executor: Executor, folder: string): Promise<void> {
    held.hasBegun = true;
    const left = await this.#runAction(held, executor, folder);
    // After the result is on its way: nobody waits for this but the slot.
    if (left) await this.#keep(left);
  }

  async #keep(left: LeftInputs): Promise<void> {
    try {
      await this.#environment.folders?.keep(...left);
    } catch (error) {
      const fields = { path: left[1], error: String(error) };
      this.#options.log.warn('the inputs of an action could not be kept', fields);
    }
  }

  async #runAction(
    held: Held,
    executor: Executor,
    folder: string,
  ): Promise<LeftInputs | undefined> {
    const { lease, stop } = held;
    let left: LeftInputs | undefined;
    const events: ActionEvents = {
      phase: (phase, metadata) => {
        this.#change(held, { phase, metadata });
        if (phase === HeldLease_Phase.PHASE_RUNNING) logStart(this.#options.log, lease);
      },
      streams: ({ stdout: stdoutStreamName, stderr: stderrStreamName }) =>
        this.#change(held, { stdoutStreamName, stderrStreamName }),
      memoryLimitMet: (memoryLimitMet) => this.#change(held, { memoryLimitMet }),
      inputsLeft: (inputs) => {
        left = inputs;
      },
    };
    try {
      const blobs = this.#options.blobsOf(lease.instanceName);
      const leased = { ...actionOf(lease), blobs, executor, folder };
      const response = await runAction(leased, this.#environment, events, stop.signal);
      await this.#finish(held, response);
    } catch (error) {
      if (stop.signal.aborted) {
        this.#forget(held);
      } else {
        const { code, message } = StatusError.from(error);
        const failure = { code, message, details: [] };
        this.#change(held, { phase: HeldLease_Phase.PHASE_DONE, failure });
      }
    }
    logEnd(this.#options.log, lease, held.state, stop.signal.aborted);
    return left;
  }

  /** The result is in the outbox before anybody hears of it. */
  async #finish(held: Held, response: ExecuteResponse): Promise<void> {
    const { signal } = held.stop;
    const { outbox } = this.#options;
    signal.throwIfAborted();
    const metadata = response.result?.executionMetadata ?? held.state.metadata;
    const done = { phase: HeldLease_Phase.PHASE_DONE, metadata, response };
    await outbox.put({ ...held.state, ...done });
    // Nobody wants it any more.
    if (signal.aborted) await outbox.remove(held.lease.leaseId);
    signal.throwIfAborted();
    this.#change(held, done);
  }

  #change(held: Held, changes: Partial<HeldLease>): void {
    held.state = { ...held.state, ...changes };
    this.#onChange();
  }

  #letGo({ lease: { leaseId } }: Held): void {
    this.#held.delete(leaseId);
    this.#track(this.#options.outbox.remove(leaseId));
  }

  #forget({ lease }: Held): void {
    this.#held.delete(lease.leaseId);
    this.#onChange();
  }
}

/** What a lease says of its action. */
function actionOf(
  lease: Lease,
): Pick<LeasedAction, 'instanceName' | 'action' | 'timeoutMs' | 'queuedAt'> {
  const { instanceName, digestFunction, actionDigest, timeout, queuedAt } = lease;
  const known = allDigestFunctions.find(({ value }) => value === digestFunction);
  if (!known) {
    throw new StatusError(
      Code.INTERNAL,
      `this worker knows no digest function ${digestFunction}: it is older than its server`,
    );
  }
  const action = Digest.fromMessage(known, actionDigest, 'action_digest of the lease');
  return { instanceName, action, timeoutMs: timeout ? msOf(timeout) : 0, queuedAt };
}
