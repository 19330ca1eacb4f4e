import path from 'node:path';
import type { TestContext } from 'node:test';
import { newId } from '../../src/base/id.ts';
import { createLog } from '../../src/base/log.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import {
  HeldLease_Phase,
  Lease,
  type WorkerState,
} from '../../src/proto/expbuild/worker/v1/worker.ts';
import { defaultOutboxOptions, Outbox } from '../../src/worker/outbox.ts';
import { defaultWorkOptions, work, type WorkOptions } from '../../src/worker/work.ts';
import { actionEnvironment } from '../support/action-environment.ts';
import { putAction } from '../support/action-of.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { HeldExecutor } from '../support/held-executor.ts';
import { PlainBlobStore } from '../support/memory-blob-store.ts';
import { ScriptedWorkQueue } from '../support/scripted-work-queue.ts';
import { tempDir } from '../support/temp-dir.ts';

/** A worker in the hands of a test: its clock, its scheduler, what it runs. */
export async function workBench(t: TestContext, changes: Partial<WorkOptions> = {}) {
  const root = tempDir(t);
  const folder = path.join(root, 'actions');
  const clock = new FakeClock();
  const store = new PlainBlobStore();
  const queue = new ScriptedWorkQueue();
  const executor = new HeldExecutor();
  const lines: string[] = [];
  const drain = new AbortController();
  const stop = new AbortController();
  const log = createLog({
    level: 'info',
    format: 'text',
    write: (line) => lines.push(line),
    now: () => 0,
  });
  const openOutbox = () =>
    Outbox.open({ ...defaultOutboxOptions, folder: path.join(root, 'outbox'), log });
  const options: WorkOptions = {
    ...defaultWorkOptions,
    queue,
    server: 'here',
    executors: [executor, executor],
    blobsOf: () => store,
    folder,
    outbox: await openOutbox(),
    newId,
    log,
    capacities: new Map([['memory', 2 ** 33]]),
    actionMaxes: new Map([['memory', 2 ** 30]]),
    properties: [{ name: 'OSFamily', value: 'linux' }],
    softwareVersion: '1.2.3',
    isolation: 'none',
    proofs: [],
    random: () => 0.5,
    ...changes,
  };
  const environment = await actionEnvironment(root, { clock });
  const startWith = (chosen: WorkOptions) => {
    const done = work(chosen, environment, drain.signal, stop.signal);
    t.after(async () => {
      stop.abort();
      await done;
    });
    return done;
  };
  const start = () => startWith(options);
  /** The same worker after it was killed: what its memory held is gone, what it wrote is not. */
  const startAnew = async (anew: ScriptedWorkQueue) =>
    startWith({ ...options, queue: anew, outbox: await openOutbox() });
  let leases = 0;
  const lease = async (script: string) =>
    Lease.fromPartial({
      leaseId: `lease-${++leases}`,
      epoch: 1,
      operationName: `operation-${leases}`,
      digestFunction: sha256.value,
      actionDigest: (await putAction(store, script)).toMessage(),
      requestMetadata: { toolInvocationId: 'invocation-1' },
      requestId: 'request-1',
      timeout: { seconds: 60, nanos: 0 },
    });
  const outboxFolder = path.join(root, 'outbox');
  return {
    folder,
    outboxFolder,
    clock,
    store,
    queue,
    executor,
    lines,
    drain,
    stop,
    start,
    startAnew,
    lease,
  };
}

/** It has run all that it has. */
export const isDone = (state: WorkerState) =>
  state.leases.length > 0 &&
  state.leases.every(({ phase }) => phase === HeldLease_Phase.PHASE_DONE);
