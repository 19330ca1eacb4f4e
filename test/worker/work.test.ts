import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { Code } from '../../src/base/status.ts';
import {
  HeldLease,
  HeldLease_Phase,
  type WorkerState,
} from '../../src/proto/expbuild/worker/v1/worker.ts';
import { defaultWorkOptions } from '../../src/worker/work.ts';
import { ScriptedWorkQueue } from '../support/scripted-work-queue.ts';
import { isDone, workBench } from './work-bench.ts';

const phasesOf = (state: WorkerState) => state.leases.map(({ phase }) => phase);
const encoded = (leases: readonly HeldLease[]) =>
  leases.map((held) => Buffer.from(HeldLease.encode(held).finish()).toString('hex'));
const isEmpty = (state: WorkerState) => state.leases.length === 0;

describe('a worker', { timeout: 60_000 }, () => {
  it('says who it is once, and counts what it says', async (t) => {
    const { start, queue } = await workBench(t);
    void start();
    const connection = await queue.connection(0);
    const { hello } = await connection.until(() => true);
    assert.equal(hello?.workerId, 'worker-1');
    assert.equal(hello?.protocolVersion, 1);
    assert.equal(hello?.softwareVersion, '1.2.3');
    assert.equal(hello?.isolation, 'none');
    assert.equal(hello?.slots, 2);
    assert.equal(hello?.actionMemoryMax, 2 ** 30);
    const [memory] = hello.capacities;
    assert.partialDeepStrictEqual(memory, { amount: 2 ** 33, actionMax: 2 ** 30 });
    assert.deepEqual(
      hello?.properties.map(({ name }) => name),
      ['OSFamily'],
    );
    connection.send([]);
    const next = await connection.until(({ seenSequence }) => seenSequence === 1);
    assert.equal(next.hello, undefined);
    assert.deepEqual(
      connection.states.map(({ sequence }) => sequence),
      [1, 2],
    );
  });

  it('runs a lease, and keeps its result until it is not wanted any more', async (t) => {
    const { start, queue, executor, lease, lines, folder } = await workBench(t);
    void start();
    const connection = await queue.connection(0);
    const one = await lease('one');
    connection.send([one]);
    const end = await executor.started('one');
    await connection.until((state) => phasesOf(state)[0] === HeldLease_Phase.PHASE_RUNNING);
    end({ kind: 'exited', exitCode: 3 });
    const [held] = (await connection.until(isDone)).leases;
    assert.equal(held?.leaseId, one.leaseId);
    assert.equal(held?.response?.result?.exitCode, 3);
    assert.equal(held?.metadata?.worker, 'worker-1');
    connection.send([one]);
    await connection.until(({ seenSequence }) => seenSequence === 2);
    connection.send([]);
    await connection.until(isEmpty);
    assert.equal(executor.running.size, 0);
    const line = lines.find((other) => other.includes('action done'));
    assert.match(
      line ?? '',
      / action=[0-9a-f]{64}\/\d+ operation=operation-1 request=request-1 invocation=invocation-1 /,
    );
    assert.match(line ?? '', /runMs=\d+ .*exitCode=3/);
    assert.doesNotMatch(line ?? '', /mnemonic/, 'nobody said it');
    // The folder goes after the result is told.
    while (readdirSync(folder).length > 0) await turn();
  });

  it('WRK-18: says what went wrong here apart from results', async (t) => {
    const { start, queue, executor, lease } = await workBench(t);
    void start();
    const connection = await queue.connection(0);
    connection.send([await lease('one')]);
    const full = Object.assign(new Error('no space left'), { code: 'ENOSPC' });
    (await executor.started('one'))(full);
    const [held] = (await connection.until(isDone)).leases;
    assert.equal(held?.response, undefined);
    assert.equal(held?.failure?.code, Code.RESOURCE_EXHAUSTED);
    assert.match(held?.failure?.message ?? '', /no space left/);
  });

  it('ends a lease that is not wanted any more', async (t) => {
    const { start, queue, executor, lease } = await workBench(t);
    void start();
    const connection = await queue.connection(0);
    const [one, two] = [await lease('one'), await lease('two')];
    connection.send([one, two]);
    await executor.started('one');
    await executor.started('two');
    connection.send([two]);
    await executor.ended('one');
    const state = await connection.until(({ leases }) => leases.length === 1);
    assert.equal(state.leases[0]?.leaseId, two.leaseId);
    assert.ok(executor.running.has('two'));
  });

  it('runs no more at once than it has slots, but holds what it is given', async (t) => {
    const { start, queue, executor, lease } = await workBench(t);
    void start();
    const connection = await queue.connection(0);
    const all = [await lease('one'), await lease('two'), await lease('three')];
    connection.send(all);
    const endOne = await executor.started('one');
    await executor.started('two');
    const state = await connection.until(({ leases }) => leases.length === 3);
    assert.equal(state.leases[2]?.phase, HeldLease_Phase.PHASE_FETCHING);
    assert.ok(!executor.running.has('three'));
    endOne({});
    await executor.started('three');
  });

  it('ignores a desired state that is older than the last', async (t) => {
    const { start, queue, executor, lease } = await workBench(t);
    void start();
    const connection = await queue.connection(0);
    const one = await lease('one');
    connection.send([]);
    connection.send([one]);
    await executor.started('one');
    connection.send([], 1);
    connection.send([one]);
    await connection.until(({ seenSequence }) => seenSequence === 3);
    assert.ok(executor.running.has('one'));
  });

  it('speaks at least once per heartbeat', async (t) => {
    const { start, queue, clock } = await workBench(t);
    void start();
    const connection = await queue.connection(0);
    connection.send([]);
    const { sequence } = await connection.until(({ seenSequence }) => seenSequence === 1);
    await turn();
    clock.advance(4_999);
    await turn();
    assert.equal(connection.states.at(-1)?.sequence, sequence);
    clock.advance(1);
    await connection.until((state) => state.sequence === sequence + 1);
  });

  it('goes on with its leases while the scheduler is away, and tells all when it is back', async (t) => {
    const { start, queue, executor, clock, lease } = await workBench(t);
    void start();
    const connection = await queue.connection(0);
    const one = await lease('one');
    connection.send([one]);
    const end = await executor.started('one');
    const first = connection.states[0]?.hello;
    connection.end(new Error('cut'));
    while (queue.connections === 1) {
      clock.advance(100);
      await turn();
    }
    end({});
    const again = await queue.connection(1);
    const state = await again.until(() => true);
    assert.deepEqual(again.states[0]?.hello, first);
    assert.equal(again.states[0]?.sequence, 1);
    assert.equal(state.seenSequence, 0);
    await again.until(isDone);
    again.send([one]);
    await again.until(({ seenSequence }) => seenSequence === 1);
    assert.equal(executor.running.size, 0);
  });

  it('SC-01: a worker killed after it finished brings the result when it is started again', async (t) => {
    const { start, startAnew, queue, executor, lease, folder, outboxFolder } = await workBench(t);
    void start();
    const connection = await queue.connection(0);
    const [one, two] = [await lease('one'), await lease('two')];
    connection.send([one, two]);
    (await executor.started('one'))({ kind: 'exited', exitCode: 3 });
    await executor.started('two');
    const { leases } = await connection.until(
      ({ leases: [first] }) => first?.phase === HeldLease_Phase.PHASE_DONE,
    );
    while (readdirSync(folder).length > 1) await turn();
    const anew = new ScriptedWorkQueue();
    void startAnew(anew);
    const again = await anew.connection(0);
    const state = await again.until(() => true);
    assert.notEqual(state.hello?.bootId, connection.states[0]?.hello?.bootId);
    assert.deepEqual(encoded(state.leases), encoded(leases.slice(0, 1)), 'not the one that ran');
    again.send([one]);
    await again.until(({ seenSequence }) => seenSequence === 1);
    assert.equal(readdirSync(outboxFolder).length, 1, 'it is being stored');
    again.send([]);
    await again.until(isEmpty);
    while (readdirSync(outboxFolder).length > 0) await turn();
  });

  it('waits longer after each failure to connect, and 10 s at most', async (t) => {
    const { start, queue, clock } = await workBench(t, { random: () => 0.999 });
    void start();
    for (const [index, waitMs] of [200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000].entries()) {
      (await queue.connection(index)).end(new Error('refused'));
      await turn();
      clock.advance(waitMs * 0.998);
      await turn();
      assert.equal(queue.connections, index + 1);
      clock.advance(waitMs * 0.002);
      await queue.connection(index + 1);
    }
  });

  it('EXE-64: with a lease it waits 3 s at most, so that it is back before it counts as lost', async (t) => {
    const { start, queue, executor, clock, lease } = await workBench(t, { random: () => 0.999 });
    void start();
    const connection = await queue.connection(0);
    connection.send([await lease('one')]);
    await executor.started('one');
    connection.end(new Error('cut'));
    for (const [index, waitMs] of [200, 400, 800, 1_600, 3_000, 3_000].entries()) {
      await turn();
      clock.advance(waitMs);
      (await queue.connection(index + 1)).end(new Error('refused'));
    }
  });

  it('WRK-17: drains: takes nothing new, finishes what runs, sees it taken, and ends', async (t) => {
    const { start, queue, executor, drain, lease } = await workBench(t);
    const done = start();
    const connection = await queue.connection(0);
    const one = await lease('one');
    connection.send([one]);
    const end = await executor.started('one');
    drain.abort();
    await connection.until(({ draining }) => draining);
    const two = await lease('two');
    connection.send([one, two]);
    const state = await connection.until(({ seenSequence }) => seenSequence === 2);
    assert.deepEqual(
      state.leases.map(({ leaseId }) => leaseId),
      [one.leaseId],
    );
    end({});
    await connection.until(isDone);
    connection.send([]);
    await done;
    assert.ok(connection.states.at(-1)?.draining);
    assert.deepEqual(connection.states.at(-1)?.leases, []);
  });

  it('WRK-17: gives back what does not end within the time for draining', async (t) => {
    const { start, queue, executor, drain, clock, lease } = await workBench(t, {
      drainTimeoutMs: 1_000,
    });
    const done = start();
    const connection = await queue.connection(0);
    connection.send([await lease('one')]);
    await executor.started('one');
    drain.abort();
    await connection.until(({ draining }) => draining);
    clock.advance(1_000);
    await executor.ended('one');
    await done;
    assert.deepEqual(connection.states.at(-1)?.leases, []);
  });

  it('a drained worker does not wait for ever for a scheduler that is away', async (t) => {
    const { start, queue, executor, drain, clock, lease } = await workBench(t);
    const done = start();
    const connection = await queue.connection(0);
    connection.send([await lease('one')]);
    (await executor.started('one'))({});
    await connection.until(isDone);
    drain.abort();
    await connection.until(({ draining }) => draining);
    await turn();
    clock.advance(defaultWorkOptions.lastReportMs);
    await done;
  });

  it('stops at once when the scheduler is gone, and brings its results at the next start', async (t) => {
    const { start, startAnew, queue, executor, drain, clock, lease, lines } = await workBench(t);
    const done = start();
    const connection = await queue.connection(0);
    const one = await lease('one');
    connection.send([one]);
    const end = await executor.started('one');
    connection.end(new Error('broken'));
    drain.abort();
    // While something runs it goes on trying.
    for (const index of [1, 2]) {
      while (queue.connections <= index) {
        clock.advance(defaultWorkOptions.reconnectWithLeasesMsMax);
        await turn();
      }
      (await queue.connection(index)).end(new Error('refused'));
      await turn();
    }
    end({});
    // It wakes for it: the clock stands still.
    (await queue.connection(3)).end(new Error('refused'));
    await done;
    assert.ok(lines.some((line) => line.includes('brought at the next start')));

    const anew = new ScriptedWorkQueue();
    void startAnew(anew);
    const state = await (await anew.connection(0)).until(isDone);
    assert.deepEqual(
      state.leases.map(({ leaseId }) => leaseId),
      [one.leaseId],
    );
  });

  it('ends everything at once when it is told to stop', async (t) => {
    const { start, queue, executor, stop, folder, lease } = await workBench(t);
    const done = start();
    const connection = await queue.connection(0);
    connection.send([await lease('one')]);
    await executor.started('one');
    stop.abort();
    await done;
    assert.equal(executor.running.size, 0);
    assert.deepEqual(readdirSync(folder), []);
  });

  it('WRK-02: removes what an earlier worker left before it takes work', async (t) => {
    const { start, queue, folder } = await workBench(t);
    mkdirSync(path.join(folder, 'old', 'root'), { recursive: true });
    writeFileSync(path.join(folder, 'old', 'root', 'x'), 'x');
    void start();
    await queue.connection(0);
    assert.deepEqual(readdirSync(folder), []);
  });
});
