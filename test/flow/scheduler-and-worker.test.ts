import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { systemClock } from '../../src/base/clock.ts';
import { newId } from '../../src/base/id.ts';
import { silentLog } from '../../src/base/log.ts';
import { Code, StatusError } from '../../src/base/status.ts';
import { ExecutionStage_Value } from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  defaultLocalSchedulerOptions,
  LocalScheduler,
} from '../../src/scheduler/local-scheduler.ts';
import type { OperationState } from '../../src/scheduler/operations.ts';
import { defaultOutboxOptions, Outbox } from '../../src/worker/outbox.ts';
import { defaultWorkOptions, work } from '../../src/worker/work.ts';
import { MemoryOperationRows } from '../scheduler/memory-operation-rows.ts';
import { actionEnvironment } from '../support/action-environment.ts';
import { putAction } from '../support/action-of.ts';
import { HeldExecutor } from '../support/held-executor.ts';
import { PlainBlobStore } from '../support/memory-blob-store.ts';
import { never } from '../support/never.ts';
import { tempDir } from '../support/temp-dir.ts';

/** A real scheduler and real workers in one process; only their commands do nothing. */
function bench(t: TestContext) {
  const store = new PlainBlobStore();
  const scheduler = new LocalScheduler({
    clock: systemClock,
    newId,
    log: silentLog,
    rows: new MemoryOperationRows(),
    commit: async (_request, response) => response,
    ...defaultLocalSchedulerOptions,
  });
  const ends: (() => Promise<void>)[] = [];
  t.after(async () => {
    await Promise.all(ends.map((end) => end()));
    await scheduler.close();
  });
  const startWorker = async (workerId: string, drainTimeoutMs = 60_000) => {
    const folder = tempDir(t);
    const executor = new HeldExecutor();
    const [drain, stop] = [new AbortController(), new AbortController()];
    const options = {
      ...defaultWorkOptions,
      actionMaxes: new Map(),
      proofs: [],
      queue: scheduler,
      server: 'here',
      executors: [executor],
      blobsOf: () => store,
      folder: path.join(folder, 'actions'),
      outbox: await Outbox.open({
        ...defaultOutboxOptions,
        folder: path.join(folder, 'outbox'),
        log: silentLog,
      }),
      newId,
      log: silentLog,
      capacities: new Map(),
      properties: [],
      softwareVersion: '0',
      isolation: 'none',
      random: () => 0,
      drainTimeoutMs,
    };
    const environment = await actionEnvironment(folder, { workerId });
    const done = work(options, environment, drain.signal, stop.signal);
    ends.push(async () => {
      stop.abort();
      await done;
    });
    return { executor, drain, stop, done };
  };
  const enqueue = async (script: string) => {
    const action = await putAction(store, script);
    const request = { timeoutMs: 60_000, doNotCache: false, priority: 0, properties: [] };
    const operation = await scheduler.enqueue({
      instanceName: '',
      action,
      requestMetadata: undefined,
      ...request,
    });
    return operation.name;
  };
  const states = async (name: string) => {
    const all: OperationState[] = [];
    for await (const state of scheduler.watch(name, never)) all.push(state);
    return all;
  };
  return { scheduler, startWorker, enqueue, states };
}

describe('a scheduler and its workers', { timeout: 60_000 }, () => {
  it('EXE-26, EXE-62: an action goes from the queue through its stages to a response', async (t) => {
    const { startWorker, enqueue, states } = bench(t);
    const { executor } = await startWorker('one');
    const watched = states(await enqueue('a'));
    (await executor.started('a'))({ kind: 'exited', exitCode: 4 });
    const all = await watched;
    const last = all.at(-1);
    assert.equal(last?.response?.result?.exitCode, 4);
    assert.equal(last?.response?.result?.executionMetadata?.worker, 'one');
    assert.equal(last?.metadata.stage, ExecutionStage_Value.COMPLETED);
  });

  it('many actions run one after the other on one slot', async (t) => {
    const { startWorker, enqueue, states } = bench(t);
    const { executor } = await startWorker('one');
    const watched: Promise<OperationState[]>[] = [];
    for (const script of ['a', 'b', 'c', 'd']) watched.push(states(await enqueue(script)));
    for (const script of ['a', 'b', 'c', 'd']) {
      (await executor.started(script))({});
      assert.ok(executor.running.size <= 1);
    }
    for (const all of await Promise.all(watched)) {
      assert.equal(all.at(-1)?.response?.status, undefined);
    }
  });

  it('EXE-56: a cancelled operation ends its command', async (t) => {
    const { scheduler, startWorker, enqueue, states } = bench(t);
    const { executor } = await startWorker('one');
    const name = await enqueue('a');
    const watched = states(name);
    await executor.started('a');
    await scheduler.cancel(name);
    assert.equal((await watched).at(-1)?.response?.status?.code, Code.CANCELLED);
    await executor.ended('a');
    const next = states(await enqueue('b'));
    (await executor.started('b'))({});
    assert.equal((await next).at(-1)?.response?.status, undefined);
  });

  it('WRK-17: what a draining worker cannot finish runs on another', async (t) => {
    const { startWorker, enqueue, states } = bench(t);
    const one = await startWorker('one', 50);
    const watched = states(await enqueue('a'));
    await one.executor.started('a');
    one.drain.abort();
    const two = await startWorker('two');
    (await two.executor.started('a'))({});
    await one.done;
    assert.equal((await watched).at(-1)?.response?.result?.executionMetadata?.worker, 'two');
  });

  it('EXE-64: what a worker left when it was started anew runs again', async (t) => {
    const { startWorker, enqueue, states } = bench(t);
    const one = await startWorker('one');
    const watched = states(await enqueue('a'));
    await one.executor.started('a');
    one.stop.abort();
    await one.done;
    const again = await startWorker('one');
    const two = await startWorker('two');
    const end = await Promise.race([again.executor.started('a'), two.executor.started('a')]);
    end({});
    assert.equal((await watched).at(-1)?.response?.status, undefined);
  });

  it('WRK-18: what one worker cannot run for a reason of its own runs on another', async (t) => {
    const { startWorker, enqueue, states } = bench(t);
    const one = await startWorker('one');
    const watched = states(await enqueue('a'));
    const fail = await one.executor.started('a');
    const two = await startWorker('two');
    fail(new StatusError(Code.RESOURCE_EXHAUSTED, 'no space left on device'));
    (await two.executor.started('a'))({});
    assert.equal((await watched).at(-1)?.response?.result?.executionMetadata?.worker, 'two');
  });
});
