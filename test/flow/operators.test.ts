import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import { systemClock } from '../../src/base/clock.ts';
import { HeldLease_Phase, WorkerState } from '../../src/proto/expbuild/worker/v1/worker.ts';
import { connectChannel } from '../../src/rpc/stubs/channel.ts';
import { remoteWorkQueue } from '../../src/rpc/stubs/remote-work-queue.ts';
import { defaultRetryOptions } from '../../src/rpc/stubs/retries.ts';
import { workerProtocolVersion } from '../../src/scheduler/work-queue.ts';
import { appears } from '../support/appears.ts';
import { type Fleet, startFleet } from '../support/fleet.ts';
import { FakeTerminal } from '../support/fake-terminal.ts';

/** An action that says when it runs, and ends when it is told. */
function heldAction({ at }: Fleet, name: string) {
  mkdirSync(at(name), { recursive: true });
  const script = `: > ${at(name)}/started; until [ -e ${at(name)}/go ]; do sleep 0.02; done`;
  return {
    argv: ['run', '--no-cache', '--', 'sh', '-c', script],
    started: appears(at(name), 'started'),
    finish: () => writeFileSync(`${at(name)}/go`, ''),
  };
}

test('a drained worker gets nothing new until it is undrained, also after a restart', async (t) => {
  const fleet = await startFleet(t);
  const { cli, worker } = fleet;
  await worker('one', '[platform]\npool = "old"');
  assert.equal((await cli(['run', '--', 'true'])).exitCode, 0);
  const listed = await cli(['workers', 'list']);
  assert.match(listed.stdout, /^WORKER +STATE +BUSY/);
  assert.match(listed.stdout, /^one +ready +0\/\d+ .*pool=old/m);
  const drained = await cli(['workers', 'drain', '--property', 'pool=old']);
  assert.equal(drained.stdout, 'one\n');
  assert.match((await cli(['workers', 'list'])).stdout, /^one +drained /m);
  await fleet.server.stop();
  await fleet.restart();

  const terminal = new FakeTerminal();
  const running = cli(['run', '--no-cache', '--', 'true'], { terminal });
  await terminal.shown(/queued: no worker/);
  const { stdout } = await cli(['operations', 'list', '--json']);
  const [operation] = (JSON.parse(stdout) as { operations: { name: string }[] }).operations;
  assert.ok(operation);
  const why = await cli(['operations', 'why', operation.name]);
  assert.match(why.stdout, /^no worker/);

  assert.equal((await cli(['workers', 'undrain', 'one'])).exitCode, 0);
  assert.equal((await running).exitCode, 0);
  const shown = await cli(['operations', 'show', operation.name]);
  assert.match(shown.stdout, /^stage +done$/m);
  assert.match(shown.stdout, /^detail +exit code 0$/m);
  const worker1 = await cli(['workers', 'show', 'one']);
  assert.match(worker1.stdout, /^capacity +cpu=/m);
  assert.match(worker1.stdout, /^isolation +\S/m);
});

test('a worker that is to terminate finishes what it runs, and ends', async (t) => {
  const fleet = await startFleet(t);
  const { cli, worker } = fleet;
  const { ended } = await worker('one');
  const action = heldAction(fleet, 'held');
  const running = cli(action.argv);
  await action.started;
  assert.equal((await cli(['workers', 'terminate', 'one'])).stdout, 'one\n');
  assert.match((await cli(['workers', 'list'])).stdout, /^one +terminating +1\//m);
  action.finish();
  assert.equal((await running).exitCode, 0);
  await ended;
});

test('one command cancels a whole build, and no other', async (t) => {
  const fleet = await startFleet(t);
  const { cli, worker } = fleet;
  await worker('one');
  const [mine, other] = [heldAction(fleet, 'mine'), heldAction(fleet, 'other')];
  const running = cli(mine.argv);
  await mine.started;
  const { stdout } = await cli(['operations', 'list', '--json']);
  const [operation] = (
    JSON.parse(stdout) as {
      operations: { name: string; requestMetadata: { toolInvocationId: string } }[];
    }
  ).operations;
  const invocation = operation?.requestMetadata.toolInvocationId ?? '';
  const runningOther = cli(other.argv);
  const cancelled = await cli(['operations', 'cancel', '--invocation', invocation]);
  assert.equal(cancelled.stdout, `${operation?.name}\n`);
  assert.equal((await running).exitCode, 75);
  await other.started;
  other.finish();
  assert.equal((await runningOther).exitCode, 0);

  // Done, and each still of its build; the name as it is printed is one that can be told.
  const terminal = new FakeTerminal(false, 80);
  await cli(['operations', 'list', '--all', '--invocation', invocation], { terminal });
  const [, line = '', ...others] = terminal.stdout.trimEnd().split('\n');
  assert.deepEqual(others, []);
  const [shortName = '', stage] = line.split(/ +/);
  assert.equal(operation?.name, `main/operations/${shortName}`);
  assert.equal(stage, 'done');
  const why = await cli(['operations', 'why', shortName]);
  assert.equal(why.stdout, 'CANCELLED: the build was cancelled\n');
  await fleet.server.stop();
  await fleet.restart();
  const kept = await cli(['operations', 'list', '--all', '--invocation', invocation]);
  const [, whole = ''] = kept.stdout.split('\n');
  assert.match(whole, /^\S+ +done +CANCELLED: the build was cancelled$/, 'also after a restart');
  assert.ok(whole.startsWith(shortName));
  const none = await cli(['operations', 'list', '--invocation', invocation]);
  assert.match(none.stderr, /no operation of that build waits or runs; --all lists/);
});

test('whoever asked for the same action as another build is cancelled apart from it', async (t) => {
  const fleet = await startFleet(t);
  const { cli } = fleet;
  const terminals = [new FakeTerminal(), new FakeTerminal()] as const;
  const builds = [];
  for (const terminal of terminals) {
    builds.push(cli(['run', '--', 'true'], { terminal }));
    await terminal.shown(/queued/);
  }
  const { stdout } = await cli(['operations', 'list', '--json']);
  const [first] = (
    JSON.parse(stdout) as { operations: { requestMetadata: { toolInvocationId: string } }[] }
  ).operations;
  const invocation = first?.requestMetadata.toolInvocationId ?? '';
  const cancelled = await cli(['operations', 'cancel', '--invocation', invocation]);
  assert.equal(cancelled.stdout.trimEnd().split('\n').length, 1);
  assert.equal((await builds[0])?.exitCode, 75);
  await fleet.worker('one');
  assert.equal((await builds[1])?.exitCode, 0);
});

test('what does not exist is said so, and what names nothing is refused', async (t) => {
  const { cli, worker, joined } = await startFleet(t);
  await worker('one');
  await joined('one');
  for (const [argv, exitCode, message] of [
    [['workers', 'drain', 'two'], 66, /knows no worker two/],
    [['workers', 'undrain', 'one', 'two'], 66, /knows no worker two/],
    [['workers', 'drain'], 64, /needs either names of workers or --property/],
    [['workers', 'drain', 'one', '--property', 'a=b'], 64, /either names/],
    [['workers', 'drain', '--property', 'a=b'], 66, /knows no worker that offers a=b/],
    [['workers'], 64, /something is missing: expbuild workers <verb>/],
    [['workers', 'show', 'two'], 66, /knows no worker two/],
    [['workers', 'show'], 64, /needs the name/],
    [['workers', 'halt', 'one'], 64, /verb is "halt"; it must be one of "list"/],
    [['operations', 'why', 'none'], 66, /knows no operation main\/operations\/none/],
    [['operations', 'cancel', 'none'], 66, /there is no operation main\/operations\/none/],
    [['operations', 'cancel'], 64, /needs either names/],
    [['quarantine', 'release', `${'0'.repeat(64)}/1`], 66, /is not in quarantine/],
    [['quarantine', 'release'], 64, /needs the digest/],
  ] as const) {
    const ended = await cli(argv);
    assert.equal(ended.exitCode, exitCode, `${argv.join(' ')}: ${ended.stderr}`);
    assert.match(ended.stderr, message);
  }
});

test('SC-18: an action that takes workers down is listed, and can be released', async (t) => {
  const fleet = await startFleet(t);
  const { cli } = fleet;
  const running = cli(['run', '--', 'true']);
  for (let boot = 1; boot <= 3; boot += 1) await dieWithLease(t, fleet.server.address, boot);
  // The last one is lost when its host starts the next process.
  await dieWithLease(t, fleet.server.address, 4, false);
  assert.equal((await running).exitCode, 75);
  const listed = await cli(['quarantine', 'list']);
  const [, digest] = /^([0-9a-f]{64}\/\d+) +\S+ +.*appears to take them down/m.exec(
    listed.stdout,
  ) ?? [undefined, ''];
  const again = await cli(['run', '--', 'true']);
  assert.match(again.stderr, /appears to take them down/);
  assert.equal((await cli(['quarantine', 'release', digest])).exitCode, 0);
  assert.equal((await cli(['quarantine', 'list'])).stdout.split('\n').length, 2);
});

/** A worker that is gone as soon as it runs something; the start after it makes that known at once. */
async function dieWithLease(
  t: TestContext,
  address: string,
  boot: number,
  waitsForLease = true,
): Promise<void> {
  const channel = connectChannel(address, {
    retries: { ...defaultRetryOptions, clock: systemClock, random: () => 0 },
    invocationId: 'victim',
  });
  t.after(() => channel.close());
  const stop = new AbortController();
  const hello = {
    workerId: 'victim',
    bootId: `boot-${boot}`,
    slots: 1,
    protocolVersion: workerProtocolVersion,
    properties: [],
  };
  const running = Promise.withResolvers<{ leaseId: string; epoch: number }>();
  async function* states() {
    yield WorkerState.fromPartial({ hello, sequence: 1 });
    const { leaseId, epoch } = await running.promise;
    const phase = HeldLease_Phase.PHASE_RUNNING;
    const leases = [{ leaseId, epoch, phase }];
    yield WorkerState.fromPartial({ sequence: 2, seenSequence: 1, leases });
  }
  try {
    for await (const desired of remoteWorkQueue(channel).connect(states(), stop.signal)) {
      const [lease] = desired.leases;
      if (!waitsForLease) break;
      if (!lease) continue;
      running.resolve(lease);
      break;
    }
  } finally {
    stop.abort();
    channel.close();
  }
}
