import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { Code } from '../../../src/base/status.ts';
import {
  type DeepPartial,
  type DesiredState,
  HeldLease_Phase,
  type Hello,
} from '../../../src/proto/expbuild/worker/v1/worker.ts';
import type { Operation } from '../../../src/proto/google/longrunning/operations.ts';
import { workerProtocolVersion } from '../../../src/scheduler/work-queue.ts';
import { connectWorker, startExecution, unpacked } from './execution-rig.ts';

const hello = { workerId: 'w', bootId: 'b', slots: 1, protocolVersion: workerProtocolVersion };

async function start(t: TestContext) {
  const { client, ...rest } = await startExecution(t);
  return { ...rest, ...connectWorker(t, client) };
}

test('a worker over the network gets a lease, and its result ends the operation', async (t) => {
  const { rig, execute, say, hear } = await start(t);
  say({ sequence: 1, hello });
  const { value: welcome } = await hear();
  assert.ok((welcome as DesiredState).welcome);
  const action = await rig.putAction();
  const states = Array.fromAsync(execute({ actionDigest: action.toMessage() }));
  const { value: given } = await hear();
  const [lease] = (given as DesiredState).leases;
  assert.equal(lease?.actionDigest?.hash, action.hash);
  const response = { result: { executionMetadata: { worker: 'w' } } };
  const { leaseId, epoch } = lease;
  const leases = [{ leaseId, epoch, phase: HeldLease_Phase.PHASE_DONE, response }];
  say({ sequence: 2, seenSequence: (given as DesiredState).sequence, leases });
  assert.ok((await states).at(-1)?.done);
});

test('a worker of another version is refused, and told both versions', async (t) => {
  const { say, hear } = await start(t);
  say({ sequence: 1, hello: { ...hello, protocolVersion: 99 } });
  await assert.rejects(hear(), {
    code: Code.FAILED_PRECONDITION,
    message: new RegExp(`99.*${workerProtocolVersion}`),
  });
});

const oddHellos: readonly (readonly [string, DeepPartial<Hello>])[] = [
  ['a million slots', { slots: 1_000_000 }],
  ['no slots', { slots: 0 }],
  ['no name', { workerId: '' }],
  ['a name of 10,000 characters', { workerId: 'w'.repeat(10_000) }],
  ['a version of 10,000 characters', { softwareVersion: '1'.repeat(10_000) }],
  [
    'a million properties',
    { properties: Array.from({ length: 1_000_000 }, () => ({ name: 'a' })) },
  ],
  [
    'a property of a million characters',
    { properties: [{ name: 'a', value: 'b'.repeat(2 ** 20) }] },
  ],
  ['fewer than no cores', { capacities: [{ name: 'cpu', amount: -1 }] }],
  ['more cores than can be counted', { capacities: [{ name: 'cpu', amount: Infinity }] }],
];

for (const [what, odd] of oddHellos) {
  test(`HI-24: a worker with ${what} is INVALID_ARGUMENT`, async (t) => {
    const { say, hear } = await start(t);
    say({ sequence: 1, hello: { ...hello, ...odd } });
    await assert.rejects(hear(), { code: Code.INVALID_ARGUMENT });
  });
}

test('HI-24: a worker may say much of its isolation: nothing depends on it', async (t) => {
  const { say, hear } = await start(t);
  say({ sequence: 1, hello: { ...hello, isolation: 'x'.repeat(10_000) } });
  await hear();
});

test('GEN-22: a server that closes ends the stream, and the worker comes again', async (t) => {
  const { listener, say, hear } = await start(t);
  say({ sequence: 1, hello });
  await hear();
  const closed = listener.close(1000);
  await assert.rejects(hear(), { code: Code.UNAVAILABLE });
  await closed;
});

test('HI-24: what a worker tells as the name of a stream is an id, or told to nobody', async (t) => {
  const { rig, execute, say, hear } = await start(t);
  say({ sequence: 1, hello });
  await hear();
  const action = await rig.putAction();
  const states = execute({ actionDigest: action.toMessage() })[Symbol.asyncIterator]();
  await states.next();
  const { value: given } = await hear();
  const { leases, sequence: seenSequence } = given as DesiredState;
  const { leaseId = '', epoch = 0 } = leases[0] ?? {};
  const stderrStreamName = '5f0d7a6e-0000-4000-8000-000000000000';
  let sequence = 1;
  for (const stdoutStreamName of ['../../x', 'main/blobs/x/1', 'x'.repeat(100_000), 'a\nb']) {
    const phase = HeldLease_Phase.PHASE_RUNNING;
    const held = { leaseId, epoch, phase, stdoutStreamName, stderrStreamName };
    say({ sequence: ++sequence, seenSequence, leases: [held] });
  }
  for (;;) {
    const { value } = await states.next();
    const { metadata } = unpacked(value as Operation);
    assert.equal(metadata.stdoutStreamName, '');
    if (metadata.stderrStreamName === stderrStreamName) break;
  }
});
