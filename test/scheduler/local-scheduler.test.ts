import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { silentLog } from '../../src/base/log.ts';
import { Code, StatusError } from '../../src/base/status.ts';
import {
  type DesiredState,
  HeldLease_Phase,
  WorkerState,
} from '../../src/proto/expbuild/worker/v1/worker.ts';
import {
  defaultLocalSchedulerOptions,
  LocalScheduler,
  type LocalSchedulerOptions,
} from '../../src/scheduler/local-scheduler.ts';
import type { OperationState } from '../../src/scheduler/operations.ts';
import { workerProtocolVersion } from '../../src/scheduler/work-queue.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { never } from '../support/never.ts';
import { MemoryOperationRows } from './memory-operation-rows.ts';
import { countedIds, ranWith, requestOf } from './rig.ts';

/** A scheduler that is closed after the test, its clock and its rows. */
function start(t: TestContext, options: Partial<LocalSchedulerOptions> = {}) {
  const clock = new FakeClock();
  const rows = new MemoryOperationRows();
  const scheduler = new LocalScheduler({
    clock,
    newId: countedIds(),
    log: silentLog,
    rows,
    commit: async (_request, response) => response,
    ...defaultLocalSchedulerOptions,
    ...options,
  });
  t.after(() => scheduler.close());
  return { clock, rows, scheduler };
}

/** States that a test says one by one. */
class Voice implements AsyncIterable<WorkerState> {
  readonly #states: WorkerState[] = [];
  #wake: () => void = () => {};
  #hasEnded = false;
  #sequence = 0;

  say(state: Parameters<typeof WorkerState.fromPartial>[0]): void {
    this.#sequence += 1;
    this.#states.push(WorkerState.fromPartial({ sequence: this.#sequence, ...state }));
    this.#wake();
  }

  hello(workerId = 'w'): void {
    const protocolVersion = workerProtocolVersion;
    this.say({ hello: { workerId, bootId: 'boot-1', slots: 1, protocolVersion } });
  }

  end(): void {
    this.#hasEnded = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator]() {
    for (;;) {
      const state = this.#states.shift();
      if (state) yield state;
      else if (this.#hasEnded) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

async function collected<T>(iterable: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of iterable) all.push(item);
  return all;
}

/** Connects a worker that runs whatever it is given at once. */
async function serve(scheduler: LocalScheduler, t: TestContext, message = 'ran'): Promise<void> {
  const voice = new Voice();
  t.after(() => voice.end());
  voice.hello();
  for await (const { sequence, leases } of scheduler.connect(voice, never)) {
    const held = leases.map(({ leaseId, epoch }) => ({
      leaseId,
      epoch,
      phase: HeldLease_Phase.PHASE_DONE,
      response: ranWith(message),
    }));
    voice.say({ seenSequence: sequence, leases: held });
  }
}

describe('a scheduler with streams and rows', () => {
  it('EXE-26: a watcher hears how the operation goes, its end, and no more', async (t) => {
    const { scheduler } = start(t);
    const { name } = await scheduler.enqueue(requestOf('a'));
    const watching = collected(scheduler.watch(name, never));
    void serve(scheduler, t);
    const states = await watching;
    assert.equal(states[0]?.response, undefined);
    assert.equal(states.at(-1)?.response?.message, 'ran');
    assert.equal(states.filter(({ response }) => response).length, 1);
    assert.equal(scheduler.find(name)?.response?.message, 'ran');
  });

  it('EXE-22, EXE-25: ten watchers and one that comes late all hear the end', async (t) => {
    const { scheduler } = start(t);
    const { name } = await scheduler.enqueue(requestOf('a'));
    const watching = Array.from({ length: 10 }, () => collected(scheduler.watch(name, never)));
    void serve(scheduler, t);
    for (const states of await Promise.all(watching)) assert.ok(states.at(-1)?.response);
    const late = await collected(scheduler.watch(name, never));
    assert.equal(late.length, 1);
    assert.ok(late[0]?.response);
  });

  it('EXE-30: a watcher of an operation that does not move hears its state again and again', async (t) => {
    const { scheduler, clock } = start(t, { updateEveryMs: 30_000 });
    const { name } = await scheduler.enqueue(requestOf('a'));
    const watching = scheduler.watch(name, never)[Symbol.asyncIterator]();
    for (let heard = 0; heard < 3; heard += 1) {
      const next = watching.next();
      if (heard > 0) clock.advance(30_000);
      assert.equal((await next).value?.name, name);
    }
    await watching.return?.();
  });

  it('SC-32: a slow watcher gets the latest state, not all of them', async (t) => {
    const { scheduler } = start(t);
    const { name } = await scheduler.enqueue(requestOf('a'));
    const watching = scheduler.watch(name, never)[Symbol.asyncIterator]();
    await watching.next();
    void serve(scheduler, t);
    while (!scheduler.find(name)?.response) await turn();
    assert.ok(((await watching.next()).value as OperationState).response);
    assert.equal((await watching.next()).done, true);
  });

  it('EXE-24: watching or cancelling an unknown operation is NOT_FOUND', async (t) => {
    const { scheduler } = start(t);
    await assert.rejects(collected(scheduler.watch('operations/none', never)), {
      code: Code.NOT_FOUND,
    });
    await assert.rejects(scheduler.cancel('operations/none'), { code: Code.NOT_FOUND });
  });

  it('OPS-07: who watches an operation that is deleted still hears how it goes and ends', async (t) => {
    const { scheduler, clock } = start(t, { updateEveryMs: 30_000 });
    const { name } = await scheduler.enqueue(requestOf('a'));
    const watching = scheduler.watch(name, never)[Symbol.asyncIterator]();
    await watching.next();
    await scheduler.delete(name);
    const next = watching.next();
    clock.advance(30_000);
    assert.equal((await next).value?.name, name);
    void serve(scheduler, t);
    let last: OperationState | undefined;
    for (;;) {
      const { done, value } = await watching.next();
      if (done) break;
      last = value;
    }
    assert.equal(last?.response?.message, 'ran');
    await assert.rejects(scheduler.delete(name), { code: Code.NOT_FOUND });
  });

  it('a watcher that goes away ends its stream with its own reason', async (t) => {
    const { scheduler } = start(t);
    const { name } = await scheduler.enqueue(requestOf('a'));
    const leaving = new AbortController();
    const watching = collected(scheduler.watch(name, leaving.signal));
    await turn();
    leaving.abort(new Error('gone'));
    await assert.rejects(watching, { message: 'gone' });
  });

  it('EXE-27: closing ends watchers with UNAVAILABLE, workers without error, and refuses the rest', async (t) => {
    const { scheduler } = start(t);
    const { name } = await scheduler.enqueue(requestOf('a'));
    const watching = collected(scheduler.watch(name, never));
    const voice = new Voice();
    voice.hello();
    const desired = collected(scheduler.connect(voice, never));
    await turn();
    await Promise.all([
      scheduler.close(),
      assert.rejects(watching, { code: Code.UNAVAILABLE }),
      desired,
    ]);
    await assert.rejects(scheduler.enqueue(requestOf('b')), { code: Code.UNAVAILABLE });
  });

  it('closing also ends the stream of a worker that has not said yet who it is', async (t) => {
    const { scheduler } = start(t);
    const desired = collected(scheduler.connect(new Voice(), never));
    await turn();
    await scheduler.close();
    assert.deepEqual(await desired, []);
  });

  it('what is accepted is written: another scheduler on the same rows goes on with it', async (t) => {
    const { scheduler, rows } = start(t);
    const { name } = await scheduler.enqueue(requestOf('a'));
    const next = start(t, { rows });
    void serve(next.scheduler, t);
    const states = await collected(next.scheduler.watch(name, never));
    assert.equal(states.at(-1)?.response?.message, 'ran');
  });

  it('an action that cannot be written is refused, and nothing of it is left', async (t) => {
    const { scheduler, rows, clock } = start(t);
    rows.failure = Object.assign(new Error('no space left'), { code: 'ENOSPC' });
    await assert.rejects(scheduler.enqueue(requestOf('a')), { code: Code.RESOURCE_EXHAUSTED });
    rows.failure = undefined;
    clock.advance(1_000);
    await turn();
    assert.equal(scheduler.queuedCount, 0);
    assert.equal(rows.runs.size, 0);
  });

  it('a change that cannot be written is told to nobody, until it can be', async (t) => {
    const { scheduler, rows, clock } = start(t);
    const { name } = await scheduler.enqueue(requestOf('a'));
    const watching = scheduler.watch(name, never)[Symbol.asyncIterator]();
    await watching.next();
    rows.failure = new Error('disk I/O error');
    await assert.rejects(scheduler.cancel(name), { message: /recording operations/ });
    assert.throws(() => scheduler.find(name), { code: Code.UNAVAILABLE });
    const hit = await scheduler.complete(requestOf('b'), ranWith('cached'));
    assert.equal(hit.response?.message, 'cached', 'a cache hit needs no row');
    rows.failure = undefined;
    clock.advance(1_000);
    const { value } = await watching.next();
    assert.equal(value?.response?.status?.code, Code.CANCELLED);
    assert.equal(rows.operations.get(name)?.done?.response.status?.code, Code.CANCELLED);
  });

  it('EXE-38: nobody hears of a result before it is stored', async (t) => {
    const storing = Promise.withResolvers<void>();
    const stored = Promise.withResolvers<void>();
    const { scheduler } = start(t, {
      commit: async (_request, response) => {
        storing.resolve();
        await stored.promise;
        return { ...response, message: 'stored' };
      },
    });
    const { name } = await scheduler.enqueue(requestOf('a'));
    void serve(scheduler, t);
    await storing.promise;
    assert.equal(scheduler.find(name)?.response, undefined);
    stored.resolve();
    const states = await collected(scheduler.watch(name, never));
    assert.equal(states.at(-1)?.response?.message, 'stored');
  });

  it('a result that cannot be stored ends the operation with the reason', async (t) => {
    const limits = { ...defaultLocalSchedulerOptions.limits, commitAttemptsMax: 1 };
    const { scheduler } = start(t, {
      limits,
      commit: () => Promise.reject(new StatusError(Code.INTERNAL, 'disk on fire')),
    });
    const { name } = await scheduler.enqueue(requestOf('a'));
    void serve(scheduler, t);
    const states = await collected(scheduler.watch(name, never));
    assert.match(states.at(-1)?.response?.status?.message ?? '', /disk on fire/);
  });

  it('refuses a worker of another protocol, naming both versions', async (t) => {
    const { scheduler } = start(t);
    const voice = new Voice();
    voice.say({ hello: { workerId: 'w', bootId: 'b', slots: 1, protocolVersion: 99 } });
    await assert.rejects(collected(scheduler.connect(voice, never)), {
      code: Code.FAILED_PRECONDITION,
      message: /version 99 .* version 1/,
    });
  });

  it('SC-10: the newer of two streams of one worker wins, the older one ends', async (t) => {
    const { scheduler } = start(t);
    const voices = [new Voice(), new Voice()] as const;
    voices[0].hello();
    const first = collected(scheduler.connect(voices[0], never));
    await turn();
    voices[1].hello();
    const second = scheduler.connect(voices[1], never)[Symbol.asyncIterator]();
    assert.equal(((await second.next()).value as DesiredState).sequence, 1);
    await first;
    assert.equal(scheduler.administration.workers()[0]?.isConnected, true);
    voices[1].end();
    assert.equal((await second.next()).done, true);
    assert.equal(scheduler.administration.workers()[0]?.isConnected, false);
  });

  it('a worker whose stream is let go of is no longer connected', async (t) => {
    const { scheduler } = start(t);
    const voice = new Voice();
    voice.hello();
    const leaving = new AbortController();
    const states = collected(scheduler.connect(voice, leaving.signal));
    await turn();
    assert.equal(scheduler.administration.workers()[0]?.isConnected, true);
    leaving.abort();
    await states;
    assert.equal(scheduler.administration.workers()[0]?.isConnected, false);
  });
});
