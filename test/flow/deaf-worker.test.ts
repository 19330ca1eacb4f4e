import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setInterval as every } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';
import { newId } from '../../src/base/id.ts';
import { silentLog } from '../../src/base/log.ts';
import { type DesiredState, WorkerState } from '../../src/proto/expbuild/worker/v1/worker.ts';
import { worker } from '../../src/rpc/services/worker.ts';
import { connectChannel } from '../../src/rpc/stubs/channel.ts';
import { remoteWorkQueue } from '../../src/rpc/stubs/remote-work-queue.ts';
import {
  defaultLocalSchedulerOptions,
  LocalScheduler,
} from '../../src/scheduler/local-scheduler.ts';
import { workerProtocolVersion } from '../../src/scheduler/work-queue.ts';
import { patientRetries } from '../../src/cli/patient-retries.ts';
import { MemoryOperationRows } from '../scheduler/memory-operation-rows.ts';
import { requestOf } from '../scheduler/rig.ts';
import { inReverse } from '../support/in-reverse.ts';
import { startServer } from '../support/start-server.ts';

/** Says that it is there for as long as it is asked. */
async function* alive(workerId: string, signal: AbortSignal): AsyncGenerator<WorkerState, void> {
  const protocolVersion = workerProtocolVersion;
  const hello = { workerId, bootId: 'boot', slots: 1, protocolVersion };
  yield WorkerState.fromPartial({ sequence: 1, hello });
  let sequence = 1;
  try {
    for await (const _ of every(20, undefined, { signal })) {
      yield WorkerState.fromPartial({ sequence: (sequence += 1) });
    }
  } catch {
    // The test is over.
  }
}

test('SC-11: a worker that is heard of and never reads keeps no action from others', async (c) => {
  const t = inReverse(c);
  const { limits, ...rest } = defaultLocalSchedulerOptions;
  const scheduler = new LocalScheduler({
    clock: systemClock,
    newId,
    log: silentLog,
    rows: new MemoryOperationRows(),
    commit: async (_request, response) => response,
    ...rest,
    limits: { ...limits, offerTimeoutMs: 300, restMs: 60_000 },
  });
  const { listener } = await startServer(t, [worker(scheduler)]);
  t.after(() => scheduler.close());
  const channel = connectChannel(listener.address, {
    retries: patientRetries(systemClock),
    invocationId: '',
  });
  const over = new AbortController();
  t.after(() => {
    over.abort();
    channel.close();
  });
  const join = (id: string) =>
    remoteWorkQueue(channel).connect(alive(id, over.signal), over.signal)[Symbol.asyncIterator]();
  const deaf = join('deaf');
  assert.deepEqual(((await deaf.next()).value as DesiredState).leases, []);
  await scheduler.enqueue(requestOf('a'));
  assert.equal(scheduler.administration.workers()[0]?.busySlots, 1, 'the deaf one has it');
  const other = join('other');
  for (;;) {
    const { value } = (await other.next()) as { value: DesiredState };
    const [lease] = value.leases;
    if (!lease) continue;
    assert.equal(lease.epoch, 2);
    assert.equal(lease.attempt, 1, 'nothing ran');
    break;
  }
});
