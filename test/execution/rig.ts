import type { TestContext } from 'node:test';
import { MemoryActionCache } from '../../src/action-cache/memory-action-cache.ts';
import { silentLog } from '../../src/base/log.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import type { Digest } from '../../src/digest/digest.ts';
import { commitResult } from '../../src/execution/commit-result.ts';
import type { ExecuteOptions, Execution } from '../../src/execution/execution.ts';
import {
  defaultExecutionOptions,
  type ExecutionOptions,
} from '../../src/execution/execution-options.ts';
import { LocalExecution } from '../../src/execution/local-execution.ts';
import {
  Action,
  Command,
  type DeepPartial,
  ExecuteResponse,
  type Platform_Property,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  type HeldLease,
  HeldLease_Phase,
  type Lease,
  WorkerState,
} from '../../src/proto/expbuild/worker/v1/worker.ts';
import { LatestSlot } from '../../src/scheduler/latest-slot.ts';
import {
  defaultLocalSchedulerOptions,
  LocalScheduler,
} from '../../src/scheduler/local-scheduler.ts';
import type { OperationState } from '../../src/scheduler/operations.ts';
import { workerProtocolVersion } from '../../src/scheduler/work-queue.ts';
import { withCompleteness } from '../../src/action-cache/completeness.ts';
import { KnownTrees } from '../../src/action-cache/known-trees.ts';
import { defaultTreeLimits } from '../../src/tree/walk-directories.ts';
import { MemoryOperationRows } from '../scheduler/memory-operation-rows.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { PlainBlobStore } from '../support/memory-blob-store.ts';
import { never } from '../support/never.ts';
import { putDirectory } from '../support/put-directory.ts';

/** An execution over the real scheduler, for one instance, `main`, and without workers at first. */
export class ExecutionRig {
  readonly blobs = new PlainBlobStore();
  readonly clock = new FakeClock();
  readonly actions = withCompleteness(
    new MemoryActionCache({ maxSizeBytes: 1_000_000 }).namespace('main'),
    this.blobs,
    { treeLimits: defaultTreeLimits, knownTrees: new KnownTrees(1_000_000) },
  );
  readonly scheduler: LocalScheduler;
  readonly execution: Execution;
  /** The actions that the worker was given, by key. */
  readonly leased: string[] = [];

  constructor(t: TestContext, options: Partial<ExecutionOptions> = {}) {
    const rooms = { blobsOf: () => this.blobs, actionsOf: () => this.actions };
    let names = 0;
    this.scheduler = new LocalScheduler({
      ...defaultLocalSchedulerOptions,
      clock: this.clock,
      newId: () => `id-${(names += 1)}`,
      log: silentLog,
      rows: new MemoryOperationRows(),
      commit: commitResult({
        ...rooms,
        log: silentLog,
        options: { ...defaultExecutionOptions, ...options },
      }),
    });
    t.after(() => this.scheduler.close());
    this.execution = new LocalExecution({
      ...rooms,
      operations: this.scheduler,
      clock: this.clock,
      options: { ...defaultExecutionOptions, ...options },
    });
  }

  /** Connects a worker on which every action ends at once with what `respond` gives. */
  serve(
    t: TestContext,
    respond: (lease: Lease) => DeepPartial<ExecuteResponse>,
    properties: readonly Platform_Property[] = [],
  ): void {
    const states = new LatestSlot<WorkerState>();
    t.after(() => states.end());
    void this.#serve(states, spoken(states, properties), respond);
  }

  async #serve(
    states: LatestSlot<WorkerState>,
    said: AsyncIterable<WorkerState>,
    respond: (lease: Lease) => DeepPartial<ExecuteResponse>,
  ): Promise<void> {
    let sent = 1;
    for await (const { sequence, leases } of this.scheduler.connect(said, never)) {
      const held: DeepPartial<HeldLease>[] = leases.map((lease) => {
        this.leased.push(lease.actionDigest?.hash ?? '');
        const response = ExecuteResponse.fromPartial(respond(lease));
        const { leaseId, epoch } = lease;
        return { leaseId, epoch, phase: HeldLease_Phase.PHASE_DONE, response };
      });
      sent += 1;
      const state = { sequence: sent, seenSequence: sequence, leases: held };
      states.put(WorkerState.fromPartial(state));
    }
  }

  /** Stores an action; by default one that is well-formed, with an empty input root. */
  async putAction(
    action: DeepPartial<Action> = {},
    command: DeepPartial<Command> = {},
  ): Promise<Digest> {
    const commandDigest = await this.blobs.put(
      Command.encode(Command.fromPartial({ arguments: ['true'], ...command })).finish(),
      sha256,
    );
    const inputRootDigest = await putDirectory(this.blobs, {});
    return this.blobs.put(
      Action.encode(
        Action.fromPartial({
          commandDigest: commandDigest.toMessage(),
          inputRootDigest: inputRootDigest.toMessage(),
          ...action,
        }),
      ).finish(),
      sha256,
    );
  }

  /** The states of an execution to its end. */
  async run(action: Digest, options: Partial<ExecuteOptions> = {}): Promise<OperationState[]> {
    const states: OperationState[] = [];
    for await (const state of this.start(action, options)) states.push(state);
    return states;
  }

  /** How an execution ends. */
  async end(action: Digest, options: Partial<ExecuteOptions> = {}): Promise<ExecuteResponse> {
    const last = (await this.run(action, options)).at(-1);
    if (!last?.response) throw new Error('the operation did not end');
    return last.response;
  }

  start(action: Digest, options: Partial<ExecuteOptions> = {}): AsyncIterable<OperationState> {
    return this.execution.execute({ ...plainOptions, action, ...options }, never);
  }
}

const plainOptions: Omit<ExecuteOptions, 'action'> = {
  instanceName: 'main',
  skipCacheLookup: false,
  priority: 0,
  inlineStdout: false,
  inlineStderr: false,
  inlineOutputFiles: [],
  requestMetadata: undefined,
};

async function* spoken(
  states: LatestSlot<WorkerState>,
  properties: readonly Platform_Property[],
): AsyncIterable<WorkerState> {
  const hello = {
    workerId: 'w',
    bootId: 'b',
    slots: 4,
    protocolVersion: workerProtocolVersion,
    properties: [...properties],
  };
  yield WorkerState.fromPartial({ sequence: 1, hello });
  for (let state = await states.take(); state; state = await states.take()) yield state;
}
