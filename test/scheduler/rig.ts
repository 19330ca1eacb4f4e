import { Code, type StatusError } from '../../src/base/status.ts';
import {
  ExecuteResponse,
  Platform_Property,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  type DesiredState,
  HeldLease,
  HeldLease_Phase,
  type Lease,
  WorkerState,
} from '../../src/proto/expbuild/worker/v1/worker.ts';
import type { ActionRequest, OperationState } from '../../src/scheduler/operations.ts';
import type { PendingCommit } from '../../src/scheduler/pending-commits.ts';
import { Scheduler } from '../../src/scheduler/scheduler.ts';
import {
  defaultSchedulerOptions,
  type SchedulerOptions,
} from '../../src/scheduler/scheduler-options.ts';
import type { Session } from '../../src/scheduler/worker.ts';
import { workerProtocolVersion } from '../../src/scheduler/work-queue.ts';
import { blobOf } from '../support/blob-of.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { MemoryOperationRows } from './memory-operation-rows.ts';

export const linux = { OSFamily: 'linux' } as const;

/** A request for the action of that name. */
export function requestOf(
  action: string,
  {
    properties = {},
    ...rest
  }: Partial<Omit<ActionRequest, 'properties' | 'action'>> & {
    properties?: Readonly<Record<string, string>>;
  } = {},
): ActionRequest {
  return {
    instanceName: '',
    action: blobOf(action).digest,
    timeoutMs: 60_000,
    doNotCache: false,
    priority: 0,
    requestMetadata: undefined,
    properties: Object.entries(properties).map(([name, value]) =>
      Platform_Property.fromPartial({ name, value }),
    ),
    ...rest,
  };
}

/** A response of an action that ran, which says so in `message`. */
export function ranWith(message: string): ExecuteResponse {
  return ExecuteResponse.fromPartial({ result: { exitCode: 0, executionMetadata: {} }, message });
}

/** Identifiers that count: the same in each run of a test. */
export function countedIds(): () => string {
  let count = 0;
  return () => `id-${(count += 1)}`;
}

/** A scheduler, and the hands that would be its skin: rows, time, and messages that always arrive. */
export class Rig {
  readonly clock = new FakeClock();
  readonly limits: SchedulerOptions;
  readonly rows = new MemoryOperationRows();
  readonly #newId = countedIds();
  scheduler: Scheduler;
  commits: PendingCommit[] = [];
  readonly #workers = new Map<Session, RigWorker>();

  constructor(limits: Partial<SchedulerOptions> = {}) {
    this.limits = { ...defaultSchedulerOptions, ...limits };
    this.scheduler = this.#start();
  }

  enqueue(request: ActionRequest): string {
    const name = this.scheduler.enqueue(request);
    this.settle();
    return name;
  }

  cancel(name: string): boolean {
    const isKnown = this.scheduler.cancel(name);
    this.settle();
    return isKnown;
  }

  delete(name: string): boolean {
    const isKnown = this.scheduler.delete(name);
    this.settle();
    return isKnown;
  }

  /** An operation that is known to be there. */
  state(name: string): OperationState {
    const state = this.scheduler.find(name);
    if (!state) throw new Error(`no operation ${name}`);
    return state;
  }

  /** How the operation ended: the code of its status, or undefined. */
  codeOf(name: string): number | undefined {
    const { response } = this.state(name);
    return response && (response.status?.code ?? Code.OK);
  }

  messageOf(name: string): string {
    return this.state(name).response?.status?.message ?? '';
  }

  /** Why the operation does not run yet, as operators are told. */
  waitingReason(name: string): string | undefined {
    const { listed } = this.scheduler.operations({ includeDone: true }, Infinity);
    return listed.find(({ state }) => state.name === name)?.waitingReason;
  }

  /** Writes and tells what there is to write and tell. */
  settle(): void {
    this.scheduler.flush((changes) => this.rows.write(changes));
    const { sessions, commits } = this.scheduler.takeNews();
    for (const [session, desired] of sessions) {
      const worker = this.#workers.get(session);
      if (worker && desired) worker.desired = desired;
    }
    this.commits.push(...commits);
  }

  /** Stores all results that wait for it. */
  commitAll(): void {
    const commits = this.commits;
    this.commits = [];
    for (const commit of commits) this.scheduler.committed(commit, commit.response);
    this.settle();
  }

  failCommits(error: StatusError): void {
    const commits = this.commits;
    this.commits = [];
    for (const commit of commits) this.scheduler.commitFailed(commit, error);
    this.settle();
  }

  /** Time goes by in steps in which the scheduler is awake, and the workers given say they are there. */
  pass(ms: number, ...alive: readonly RigWorker[]): void {
    for (let leftMs = ms; leftMs > 0; leftMs -= 1_000) {
      this.clock.advance(Math.min(leftMs, 1_000));
      this.scheduler.wake();
      this.settle();
      for (const worker of alive) worker.say();
    }
  }

  /** The process ends at once and starts anew with what was written. */
  restart(): void {
    this.#workers.clear();
    this.commits = [];
    this.scheduler = this.#start();
    this.settle();
  }

  worker(id: string, options: RigWorkerOptions = {}): RigWorker {
    const worker = new RigWorker(this, id, options);
    worker.connect();
    return worker;
  }

  attach(session: Session, worker: RigWorker): void {
    this.#workers.set(session, worker);
    this.settle();
  }

  #start(): Scheduler {
    const { clock, limits, rows } = this;
    return new Scheduler({ clock, newId: this.#newId, limits, stored: rows.load() });
  }
}

export interface RigWorkerOptions {
  readonly slots?: number;
  readonly bootId?: string;
  /** What it brings from before. */
  readonly held?: Iterable<HeldLease>;
  readonly properties?: Readonly<Record<string, string | readonly string[]>>;
  readonly capacities?: Readonly<Record<string, number>>;
  readonly actionMaxes?: Readonly<Record<string, number>>;
  readonly actionMemoryMax?: number;
  readonly isolation?: string;
}

/** A worker that does what a test says. */
export class RigWorker {
  readonly id: string;
  readonly #rig: Rig;
  readonly #options: RigWorkerOptions;
  readonly held = new Map<string, HeldLease>();
  isDraining = false;
  trouble = '';
  refuses = false;
  /** Nothing of what it is told arrives. */
  isDeaf = false;
  desired: DesiredState | undefined;
  session: Session | undefined;
  #sequence = 0;

  constructor(rig: Rig, id: string, options: RigWorkerOptions) {
    this.#rig = rig;
    this.id = id;
    this.#options = options;
    for (const held of options.held ?? []) this.held.set(held.leaseId, held);
  }

  connect(): void {
    const { slots = 1, bootId = 'boot-1', properties = {}, capacities = {} } = this.#options;
    const { actionMemoryMax = 0, actionMaxes = {}, isolation = '' } = this.#options;
    const listed = Object.entries(properties).flatMap(([name, values]) =>
      [values].flat().map((value) => ({ name, value })),
    );
    const hello = {
      workerId: this.id,
      bootId,
      slots,
      properties: listed,
      softwareVersion: '',
      isolation,
      actionMemoryMax,
      capacities: Object.entries(capacities).map(([name, amount]) => ({
        name,
        amount,
        actionMax: actionMaxes[name] ?? 0,
      })),
    };
    this.desired = undefined;
    this.#sequence = 0;
    const session = this.#rig.scheduler.connect(
      this.#state({ hello: { ...hello, protocolVersion: workerProtocolVersion } }),
    );
    this.session = session;
    this.#rig.attach(session, this);
  }

  disconnect(): void {
    if (this.session) this.#rig.scheduler.disconnect(this.session);
    this.#rig.settle();
  }

  get leases(): readonly Lease[] {
    return this.desired?.leases ?? [];
  }

  /** Its only lease. */
  get lease(): Lease {
    const [lease, ...more] = this.leases;
    if (!lease || more.length > 0) throw new Error(`${this.id} has ${this.leases.length} leases`);
    return lease;
  }

  /** Sends its state; it has seen what it was told, and taken the leases unless it `refuses`. */
  say(): void {
    if (!this.session) throw new Error(`${this.id} is not connected`);
    for (const { leaseId, epoch } of this.refuses || this.isDeaf ? [] : this.leases) {
      if (this.held.has(leaseId)) continue;
      this.held.set(leaseId, HeldLease.fromPartial({ leaseId, epoch }));
    }
    this.#rig.scheduler.report(this.session, this.#state({}));
    this.#rig.settle();
  }

  hold(lease: Lease, phase: HeldLease_Phase, rest: Partial<HeldLease> = {}): void {
    const { leaseId, epoch } = lease;
    this.held.set(leaseId, HeldLease.fromPartial({ leaseId, epoch, phase, ...rest }));
    this.say();
  }

  run(lease: Lease = this.lease): void {
    this.hold(lease, HeldLease_Phase.PHASE_RUNNING);
  }

  /** Reports the result; what it then no longer should have it forgets. */
  finish(lease: Lease = this.lease, response = ranWith(this.id)): void {
    this.hold(lease, HeldLease_Phase.PHASE_DONE, { response });
  }

  fail(lease: Lease, code: Code, message: string): void {
    const failure = { code, message, details: [] };
    this.hold(lease, HeldLease_Phase.PHASE_DONE, { failure });
  }

  /** Lets go of what it should not have. */
  obey(): void {
    const wanted = new Set(this.leases.map(({ leaseId }) => leaseId));
    for (const id of this.held.keys()) if (!wanted.has(id)) this.held.delete(id);
    this.say();
  }

  #state(rest: Parameters<typeof WorkerState.fromPartial>[0]): WorkerState {
    this.#sequence += 1;
    return WorkerState.fromPartial({
      sequence: this.#sequence,
      seenSequence: this.isDeaf ? 0 : (this.desired?.sequence ?? 0),
      leases: [...this.held.values()],
      draining: this.isDraining,
      trouble: this.trouble,
      ...rest,
    });
  }
}
