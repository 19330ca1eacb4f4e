import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code, StatusError } from '../../../src/base/status.ts';
import { DesiredState, WorkerState } from '../../../src/proto/expbuild/worker/v1/worker.ts';
import { remoteWorkQueue } from '../../../src/rpc/stubs/remote-work-queue.ts';
import { never } from '../../support/never.ts';
import { bidi, fakeServer } from './fake-server.ts';

const path = '/expbuild.worker.v1.WorkerService/Connect';

async function* helloThenMore(): AsyncIterable<WorkerState> {
  yield WorkerState.fromPartial({ sequence: 1, hello: { workerId: 'w' } });
  yield WorkerState.fromPartial({ sequence: 2 });
}

async function* helloThenSilence(): AsyncIterable<WorkerState> {
  yield WorkerState.fromPartial({ sequence: 1, hello: { workerId: 'w', slots: 2 } });
  await new Promise<never>(() => {});
}

test('a worker says what it does and hears what it should do', async (t) => {
  const channel = await fakeServer(t, [
    bidi(path, WorkerState, DesiredState, async function* (states) {
      for await (const { sequence, hello } of states) {
        yield DesiredState.fromPartial({ sequence, leases: [{ leaseId: hello?.workerId ?? '' }] });
        if (sequence === 2) return;
      }
    }),
  ]);
  const heard: [number, string | undefined][] = [];
  for await (const { sequence, leases } of remoteWorkQueue(channel).connect(
    helloThenMore(),
    never,
  )) {
    heard.push([sequence, leases[0]?.leaseId]);
  }
  assert.deepEqual(heard, [
    [1, 'w'],
    [2, ''],
  ]);
});

test('a scheduler that shuts down ends the answers, though the worker is silent', async (t) => {
  const channel = await fakeServer(t, [
    bidi(path, WorkerState, DesiredState, async function* (states) {
      for await (const { sequence } of states) {
        yield DesiredState.fromPartial({ sequence });
        throw new StatusError(Code.UNAVAILABLE, 'the server is shutting down');
      }
    }),
  ]);
  const answers = remoteWorkQueue(channel).connect(helloThenSilence(), never);
  await assert.rejects(
    (async () => {
      for await (const { sequence } of answers) assert.equal(sequence, 1);
    })(),
    { code: Code.UNAVAILABLE },
  );
});

test('an abort ends the connection of a silent worker', async (t) => {
  const channel = await fakeServer(t, [
    bidi(path, WorkerState, DesiredState, async function* (states) {
      for await (const { sequence } of states) yield DesiredState.fromPartial({ sequence });
    }),
  ]);
  const aborting = new AbortController();
  const answers = remoteWorkQueue(channel).connect(helloThenSilence(), aborting.signal);
  await assert.rejects(
    (async () => {
      for await (const { sequence } of answers) {
        assert.equal(sequence, 1);
        aborting.abort();
      }
    })(),
    { code: Code.CANCELLED },
  );
});
