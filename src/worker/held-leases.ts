import path from 'node:path';
import { fieldOf, type Log, type LogFields } from '../base/log.ts';
import type { NewId } from '../base/id.ts';
import { Permits } from '../base/permits.ts';
import { Code, StatusError } from '../base/status.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import { allDigestFunctions } from '../digest/digest-functions.ts';
import { Digest } from '../digest/digest.ts';
import type { Executor } from '../executor/executor.ts';
import { HeldLease, HeldLease_Phase, Lease } from '../proto/expbuild/worker/v1/worker.ts';
import type { Outbox } from './outbox.ts';
import { removeFolder } from './remove-folder.ts';
import {
  type ActionEnvironment,
  type ActionEvents,
  type LeftInputs,
  runAction,
} from './run-action.ts';

export interface SlotOptions {
  /** One for each slot. */
  readonly executors: readonly Executor[];
  /** The blobs of an instance. */
  readonly blobsOf: (instanceName: string) => BlobStore;
  /** Holds a folder for each action that runs. */
  readonly folder: string;
  /** Keeps results until the scheduler no longer wants them. */
  readonly outbox: Outbox;
  readonly newId: NewId;
  readonly log: Log;
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
  readonly #options: SlotOptions;
  readonly #environment: ActionEnvironment;
  readonly #onChange: () => void;
  readonly #free: Executor[];
  readonly #slots: Permits;
  /** Leases that run, and those whose files are being removed. */
  readonly #running = new Set<Promise<void>>();
  readonly #stopped = new AbortController();
  /** What was left of actions, and why it is still there, by folder. */
  readonly #unclean = new Map<string, string>();

  /** `onChange` is called when a lease has another phase, or is not held any more. */
  constructor(options: SlotOptions, environment: ActionEnvironment, onChange: () => void) {
    this.#options = options;
    this.#environment = environment;
    this.#onChange = onChange;
    this.#free = [...options.executors];
    this.#slots = new Permits(options.executors.length);
    for (const state of options.outbox.left) {
      const { leaseId, epoch } = state;
      const lease = Lease.fromPartial({ leaseId, epoch });
      this.#held.set(leaseId, { lease, stop: new AbortController(), hasBegun: true, state });
    }
  }

  /** Why a slot still has something of its last action: the worker is then to take nothing new. */
  get uncleanWhy(): string | undefined {
    const [[folder, why] = []] = this.#unclean;
    return folder === undefined ? undefined : `what an action left in ${folder} stays: ${why}`;
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

  /**
   * Takes a slot, once one is free, for something else than a lease. `act` gets a path at which nothing is; what
   * it makes there is removed.
   */
  async borrow(
    act: (executor: Executor, folder: string) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    const either = AbortSignal.any([signal, this.#stopped.signal]);
    const acting = this.#slots.hold(() => this.#inSlot(act), either);
    const settled = acting.catch(() => {}).finally(() => this.#running.delete(settled));
    this.#running.add(settled);
    await acting;
  }

  /** Leases that have no slot yet go back: others may have one. */
  returnWaiting(): void {
    for (const { hasBegun, stop } of this.#held.values()) if (!hasBegun) stop.abort();
  }

  /** Ends every lease that runs; they are then not held any more. What cannot be ended or removed is left. */
  stopAll(): void {
    this.#stopped.abort();
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
      .hold(() => this.#run(held), held.stop.signal)
      // It was let go of before there was a slot for it.
      .catch(() => this.#forget(held))
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  async #run(held: Held): Promise<void> {
    held.hasBegun = true;
    await this.#inSlot(async (executor, folder) => {
      const left = await this.#runAction(held, executor, folder);
      // After the result is on its way: nobody waits for this but the slot.
      if (left) await this.#keep(left);
    });
  }

  async #inSlot(act: (executor: Executor, folder: string) => Promise<void>): Promise<void> {
    const executor = this.#free.pop();
    if (!executor) throw new Error('there is a slot and no executor for it');
    const folder = path.join(this.#options.folder, this.#options.newId());
    try {
      await act(executor, folder);
    } finally {
      await this.#clean(executor, folder);
      this.#free.push(executor);
    }
  }

  /** Removes all that an action left. While that does not work, its slot runs nothing else (WK-04). */
  async #clean(executor: Executor, folder: string): Promise<void> {
    const { log } = this.#options;
    const { clock } = this.#environment;
    for (let tries = 0; ; tries++) {
      try {
        await executor.clean?.();
        await removeFolder(folder);
        if (tries === 0) return;
        log.info('what was left of an action is gone', { folder });
        this.#unclean.delete(folder);
        this.#onChange();
        return;
      } catch (error) {
        if (tries === 0) this.#stain(folder, error);
        if (!(await clock.sleep(cleanAgainMs, this.#stopped.signal).then(isTrue, isFalse))) return;
      }
    }
  }

  #stain(folder: string, error: unknown): void {
    const { message } = StatusError.from(error);
    const fields = { folder, error: message };
    this.#options.log.error('no more actions until all that one left is gone', fields);
    this.#unclean.set(folder, message);
    this.returnWaiting();
    this.#onChange();
  }

  async #keep(left: LeftInputs): Promise<void> {
    try {
      await this.#environment.folders?.keep(...left);
    } catch (error) {
      this.#options.log.warn('the inputs of an action could not be kept', { error: String(error) });
    }
  }

  async #runAction(
    held: Held,
    executor: Executor,
    folder: string,
  ): Promise<LeftInputs | undefined> {
    const { lease, stop } = held;
    let left: LeftInputs | undefined;
    try {
      const leased = {
        instanceName: lease.instanceName,
        action: actionOf(lease),
        timeoutMs: (lease.timeout?.seconds ?? 0) * 1_000 + (lease.timeout?.nanos ?? 0) / 1e6,
        queuedAt: lease.queuedAt,
        blobs: this.#options.blobsOf(lease.instanceName),
        executor,
        folder,
      };
      const events: ActionEvents = {
        phase: (phase, metadata) => {
          this.#change(held, { phase, metadata });
          if (phase === HeldLease_Phase.PHASE_RUNNING) this.#logStart(held);
        },
        streams: ({ stdout: stdoutStreamName, stderr: stderrStreamName }) =>
          this.#change(held, { stdoutStreamName, stderrStreamName }),
        memoryLimitMet: (memoryLimitMet) => this.#change(held, { memoryLimitMet }),
        inputsLeft: (inputs) => {
          left = inputs;
        },
      };
      const response = await runAction(leased, this.#environment, events, stop.signal);
      stop.signal.throwIfAborted();
      const metadata = response.result?.executionMetadata ?? held.state.metadata;
      const done = { phase: HeldLease_Phase.PHASE_DONE, metadata, response };
      await this.#options.outbox.put({ ...held.state, ...done });
      // Nobody wants it any more.
      if (stop.signal.aborted) await this.#options.outbox.remove(lease.leaseId);
      stop.signal.throwIfAborted();
      this.#change(held, done);
    } catch (error) {
      if (stop.signal.aborted) {
        this.#forget(held);
      } else {
        const { code, message } = StatusError.from(error);
        const failure = { code, message, details: [] };
        this.#change(held, { phase: HeldLease_Phase.PHASE_DONE, failure });
      }
    }
    this.#logEnd(held);
    return left;
  }

  #change(held: Held, changes: Partial<HeldLease>): void {
    held.state = { ...held.state, ...changes };
    this.#onChange();
  }

  #letGo({ lease: { leaseId } }: Held): void {
    this.#held.delete(leaseId);
    const removing = this.#options.outbox
      .remove(leaseId)
      .finally(() => this.#running.delete(removing));
    this.#running.add(removing);
  }

  #forget({ lease }: Held): void {
    this.#held.delete(lease.leaseId);
    this.#onChange();
  }

  #logStart({ lease }: Held): void {
    this.#options.log.debug('action running', fieldsOf(lease));
  }

  #logEnd({ lease, state, stop }: Held): void {
    const { response, failure } = state;
    const times = state.metadata;
    const fields = {
      ...fieldsOf(lease),
      fetchMs: msBetween(times?.inputFetchStartTimestamp, times?.inputFetchCompletedTimestamp),
      runMs: msBetween(times?.executionStartTimestamp, times?.executionCompletedTimestamp),
      uploadMs: msBetween(times?.outputUploadStartTimestamp, times?.outputUploadCompletedTimestamp),
    };
    const { log } = this.#options;
    if (stop.signal.aborted) log.info('action cancelled', fields);
    else if (failure)
      log.error('action could not be run here', { ...fields, error: failure.message });
    else if (response?.status)
      log.warn('action failed', { ...fields, error: response.status.message });
    else log.info('action done', { ...fields, exitCode: response?.result?.exitCode });
  }
}

/** A hand that unmounts something, or a disk that answers again, takes seconds at least. */
const cleanAgainMs = 5_000;
const isTrue = () => true;
const isFalse = () => false;

/** What tells one action from another, in this log and in the server's. */
function fieldsOf(lease: Lease): LogFields {
  const { actionDigest, requestMetadata } = lease;
  return {
    action: actionDigest && `${actionDigest.hash}/${actionDigest.sizeBytes}`,
    mnemonic: fieldOf(requestMetadata?.actionMnemonic),
    operation: lease.operationName,
    request: fieldOf(lease.requestId),
    invocation: fieldOf(requestMetadata?.toolInvocationId),
    attempt: lease.attempt,
  };
}

function actionOf({ actionDigest, digestFunction }: Lease): Digest {
  const known = allDigestFunctions.find(({ value }) => value === digestFunction);
  if (known) return Digest.fromMessage(known, actionDigest, 'action_digest of the lease');
  throw new StatusError(Code.INTERNAL, `this worker knows no digest function ${digestFunction}`);
}

type Moment = { readonly seconds: number; readonly nanos: number } | undefined;

function msBetween(from: Moment, to: Moment): number | undefined {
  if (!from || !to) return undefined;
  return Math.round((to.seconds - from.seconds) * 1_000 + (to.nanos - from.nanos) / 1e6);
}
