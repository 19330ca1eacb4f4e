import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { Code } from '../../../src/base/status.ts';
import type {
  DeepPartial,
  ExecuteResponse,
} from '../../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  type DesiredState,
  type HeldLease,
  HeldLease_Phase,
  type Hello,
  type Lease,
} from '../../../src/proto/expbuild/worker/v1/worker.ts';
import { Operation } from '../../../src/proto/google/longrunning/operations.ts';
import { workerProtocolVersion } from '../../../src/scheduler/work-queue.ts';
import { never } from '../../support/never.ts';
import { connectWorker, startExecution, unpacked } from './execution-rig.ts';

const MIB = 2 ** 20;
const linux = { name: 'OSFamily', value: 'linux' };

async function start(t: TestContext) {
  const { client, rig, execute } = await startExecution(t);
  return {
    /** A worker with one slot. */
    join: (workerId: string, hello: DeepPartial<Hello> = {}) => {
      const { say, hear } = connectWorker(t, client);
      const plain = { workerId, bootId: 'b', slots: 1, protocolVersion: workerProtocolVersion };
      let sequence = 1;
      let seenSequence = 0;
      const held = new Map<string, DeepPartial<HeldLease>>();
      const tell = () => say({ sequence: ++sequence, seenSequence, leases: [...held.values()] });
      say({ sequence, hello: { ...plain, ...hello } });
      return {
        hear,
        /** The one lease that it is given next. */
        lease: async (): Promise<Lease> => {
          for (;;) {
            const desired = (await hear()).value as DesiredState;
            seenSequence = desired.sequence;
            const wanted = new Set(desired.leases.map(({ leaseId }) => leaseId));
            for (const id of held.keys()) if (!wanted.has(id)) held.delete(id);
            const given = desired.leases.filter(({ leaseId }) => !held.has(leaseId));
            for (const { leaseId, epoch } of given) {
              held.set(leaseId, { leaseId, epoch, phase: HeldLease_Phase.PHASE_RUNNING });
            }
            tell();
            assert.ok(given.length <= 1, 'more leases than slots');
            if (given[0]) return given[0];
          }
        },
        finish: ({ leaseId, epoch }: Lease, response: DeepPartial<ExecuteResponse>) => {
          held.set(leaseId, { leaseId, epoch, phase: HeldLease_Phase.PHASE_DONE, response });
          tell();
        },
      };
    },
    /** An action in the queue; no two have the same `salt`. */
    enqueue: async (salt: string, ...properties: (typeof linux)[]) => {
      const action = await rig.putAction({ salt: Buffer.from(salt), platform: { properties } });
      const states = execute({ actionDigest: action.toMessage() });
      await states.next();
      return {
        action,
        ended: async () => {
          const last = (await Array.fromAsync(states)).at(-1) ?? assert.fail('no operation');
          const { response } = unpacked(last);
          assert.ok(response);
          const { length: sizeBytes } = Operation.encode(last).finish();
          return { response, sizeBytes, cached: await rig.actions.find(action, never) };
        },
      };
    },
  };
}

const good = { message: 'good', result: { executionMetadata: { worker: 'w' } } };

test('HI-24: a result of 100 MiB ends the stream unread, and the action runs again', async (t) => {
  const { join, enqueue } = await start(t);
  const { ended } = await enqueue('a');
  const worker = join('w');
  const stdoutRaw = Buffer.alloc(100 * MIB);
  worker.finish(await worker.lease(), { result: { stdoutRaw } });
  await assert.rejects(worker.hear(), { code: Code.RESOURCE_EXHAUSTED });
  const again = join('w');
  again.finish(await again.lease(), good);
  assert.equal((await ended()).response.message, 'good');
});

for (const [what, large] of [
  ['output', { result: { stdoutRaw: Buffer.alloc(20 * MIB) } }],
  ['words', { ...good, message: 'x'.repeat(4 * MIB) }],
  ['words for an error', { status: { code: Code.INTERNAL, message: 'x'.repeat(4 * MIB) } }],
] as const) {
  test(`HI-24, GEN-09: a result with more ${what} than a client takes is none, and is kept by nobody`, async (t) => {
    const { join, enqueue } = await start(t);
    const { ended } = await enqueue('a');
    const worker = join('w');
    worker.finish(await worker.lease(), large);
    const { response, sizeBytes, cached } = await ended();
    assert.equal(response.status?.code, Code.INVALID_ARGUMENT);
    assert.match(response.status.message, /result of \d+ bytes, more than .* name fewer outputs/);
    assert.ok(sizeBytes < 10_000, `${sizeBytes}`);
    assert.equal(cached, undefined);
  });
}

test('HI-24: a worker with a million cores gets as many leases as it has slots', async (t) => {
  const { join, enqueue } = await start(t);
  const actions = [];
  for (const salt of ['a', 'b', 'c']) {
    actions.push(await enqueue(salt, { name: 'cpu', value: '2' }));
  }
  const worker = join('w', { capacities: [{ name: 'cpu', amount: 1_000_000 }] });
  for (const { action, ended } of actions) {
    const lease = await worker.lease();
    assert.equal(lease.actionDigest?.hash, action.hash);
    worker.finish(lease, good);
    assert.equal((await ended()).response.message, 'good');
  }
});

test('HI-24: a worker that comes back as another platform does not get the action again', async (t) => {
  const { join, enqueue } = await start(t);
  const { ended } = await enqueue('a', linux);
  const windows = { name: 'OSFamily', value: 'windows' };
  const worker = join('w', { properties: [linux] });
  await worker.lease();
  const other = join('w', { properties: [windows] });
  const honest = join('honest', { properties: [linux] });
  honest.finish(await honest.lease(), good);
  assert.equal((await ended()).response.message, 'good');
  assert.deepEqual(((await other.hear()).value as DesiredState).leases, []);
});

test('HI-24, WRK-15: a result for the lease of another worker is dropped', async (t) => {
  const { join, enqueue } = await start(t);
  const [first, second] = [await enqueue('a'), await enqueue('b')];
  const worker = join('w');
  const lease = await worker.lease();
  const thief = join('thief');
  const own = await thief.lease();
  thief.finish(lease, { ...good, message: 'stolen' });
  thief.finish(own, good);
  assert.equal((await second.ended()).response.message, 'good');
  worker.finish(lease, { ...good, message: 'its own' });
  assert.equal((await first.ended()).response.message, 'its own');
});
