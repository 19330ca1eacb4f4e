import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Operation } from '../../src/proto/google/longrunning/operations.ts';
import {
  DesiredState,
  HeldLease_Phase,
  type Lease,
  WorkerState,
} from '../../src/proto/expbuild/worker/v1/worker.ts';
import { workerProtocolVersion } from '../../src/scheduler/work-queue.ts';
import { ApiClient, responseOf } from '../support/api-client.ts';
import { executableSkip } from '../support/executable.ts';
import { Farm } from '../support/farm.ts';
import { inReverse } from '../support/in-reverse.ts';
import { TestClient } from '../support/test-client.ts';

const watchers = 200;
/** Of some 500 bytes on the wire, and more in memory: all of them would be more than 300 MB. */
const changes = 2_000;
/** Twice what garbage that nobody was in need of collecting was seen to take. */
const growthMaxMiB = 200;

const properties = [{ name: 'pool', value: 'any' }];

function residentMiB(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
}

test(
  'SC-32: clients that do not read while their operation changes thousands of times cost no memory, and then hear the latest',
  { skip: executableSkip(), timeout: 180_000 },
  async (c) => {
    const t = inReverse(c);
    const farm = await Farm.create(t);
    const server = await farm.startServer();
    const address = `127.0.0.1:${farm.port}`;
    const client = new ApiClient(t, address);
    const put = (text: string) =>
      client.putAction({
        command: { arguments: ['echo', text], platform: { properties } },
      });

    // A worker with an action that never ends, which wants to shut down, or not: each time others wait for
    // another reason.
    const fickle = new TestClient(t, address).bidi(
      '/expbuild.worker.v1.WorkerService/Connect',
      WorkerState,
      DesiredState,
    );
    const held: { leaseId: string; epoch: number; phase: HeldLease_Phase }[] = [];
    let sequence = 0;
    const say = (rest: Parameters<typeof WorkerState.fromPartial>[0]) =>
      fickle.write(WorkerState.fromPartial({ sequence: (sequence += 1), leases: held, ...rest }));
    const given = new Promise<Lease>((resolve) => {
      fickle.on('data', ({ leases }: DesiredState) => leases[0] && resolve(leases[0]));
    });
    fickle.on('error', () => {});
    const protocolVersion = workerProtocolVersion;
    say({ hello: { workerId: 'fickle', bootId: '1', slots: 1, properties, protocolVersion } });
    const endless = client.execute({ actionDigest: await put('endless') });
    await endless.next();
    const { leaseId, epoch } = await given;
    held.push({ leaseId, epoch, phase: HeldLease_Phase.PHASE_RUNNING });
    say({});

    const actionDigest = await put('watched');
    const streams = Array.from({ length: watchers }, () => client.execute({ actionDigest }));
    const [first] = await Promise.all(streams.map((stream) => stream.next()));
    assert.ok(first);
    const { name } = first.value as Operation;
    const reader = client.waitExecution(name);
    let heard = 0;
    const reading = (async () => {
      for await (const _ of reader) heard += 1;
    })();
    const before = residentMiB(server.pid);
    for (let n = 0; n < changes; n += 1) {
      say({ draining: n % 2 === 0 });
      await client.getOperation(name);
    }
    const growth = residentMiB(server.pid) - before;
    c.diagnostic(`${heard} changes were heard, and the server grew by ${growth.toFixed(0)} MiB`);
    assert.ok(heard > changes / 3, `only ${heard} changes were heard by who read`);
    assert.ok(growth < growthMaxMiB, `${growth} MiB`);

    await farm.startWorker('one');
    const ends = streams.map(async (stream) => {
      const rest = await Array.fromAsync(stream);
      assert.equal(responseOf(rest).result?.exitCode, 0);
      return rest.length;
    });
    const most = Math.max(...(await Promise.all(ends)));
    assert.ok(most < changes / 3, `${most} states were kept for one of them`);
    await reading;
  },
);
