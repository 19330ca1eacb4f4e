import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import {
  type Digest,
  ExecuteOperationMetadata,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { ReadRequest, ReadResponse } from '../../src/proto/google/bytestream/bytestream.ts';
import {
  GetOperationRequest,
  ListOperationsRequest,
  ListOperationsResponse,
  Operation,
} from '../../src/proto/google/longrunning/operations.ts';
import { ApiClient, responseOf } from '../support/api-client.ts';
import { startFleet } from '../support/fleet.ts';
import { gate } from '../support/gate.ts';
import { inReverse } from '../support/in-reverse.ts';
import { TestClient } from '../support/test-client.ts';

const metadataOf = (operation: Operation | undefined) =>
  ExecuteOperationMetadata.decode(operation?.metadata?.value ?? new Uint8Array());

/** A farm as another client sees it. */
async function farm(context: TestContext, workers: readonly string[] = ['one']) {
  const t = inReverse(context);
  const fleet = await startFleet(context);
  const running = new Map<string, { stop(): Promise<void> }>();
  for (const name of workers) running.set(name, await fleet.worker(name));
  const { address } = fleet.server;
  // A stream that is not read to its end would hold up the end of the server.
  const stop = new AbortController();
  t.after(() => stop.abort());
  const api = new ApiClient(t, address, 'main', { signal: stop.signal });
  const client = new TestClient(t, address);
  const action = (script: string) =>
    api.putAction({ command: { arguments: ['sh', '-c', script] }, action: { doNotCache: false } });
  const execute = (actionDigest: Digest) => api.execute({ actionDigest, skipCacheLookup: true });
  const get = (name: string) =>
    client.unary('/google.longrunning.Operations/GetOperation', GetOperationRequest, Operation, {
      name,
    });
  const list = async () => {
    const path = '/google.longrunning.Operations/ListOperations';
    const request = ListOperationsRequest.fromPartial({ name: 'main/operations' });
    return client.unary(path, ListOperationsRequest, ListOperationsResponse, request);
  };
  const reading = (resourceName: string) =>
    client.serverStream(
      '/google.bytestream.ByteStream/Read',
      ReadRequest,
      ReadResponse,
      ReadRequest.fromPartial({ resourceName }),
      { signal: stop.signal },
    );
  const read = async (name: string) => {
    const parts = await Array.fromAsync(reading(name));
    return Buffer.concat(parts.map(({ data }) => data)).toString();
  };
  return { ...fleet, api, running, action, execute, get, list, reading, read };
}

/** The first state that tells of streams, other than those given. */
async function named(
  states: AsyncIterator<Operation>,
  other = '',
): Promise<{ name: string; stdout: string; stderr: string }> {
  for (let next = await states.next(); next.done !== true; next = await states.next()) {
    const { stdoutStreamName: stdout, stderrStreamName: stderr } = metadataOf(next.value);
    if (stdout !== '' && stderr !== '' && stdout !== other) {
      return { name: next.value.name, stdout, stderr };
    }
  }
  throw new Error('the operation ended without names of streams');
}

/** The first bytes of a stream. */
async function firstOf(reading: AsyncGenerator<ReadResponse>): Promise<string> {
  const next = await reading.next();
  return Buffer.from(next.value?.data ?? []).toString();
}

test('EXE-63, LOG-10, LOG-11: the names are in every view of a running operation, and read', async (t) => {
  const { api, action, execute, get, list, reading, read } = await farm(t);
  const { wait, open } = gate(t);
  const states = execute(await action(`echo out; echo err >&2; ${wait}; echo end`));
  const { name, stdout, stderr } = await named(states);
  assert.match(stdout, /^[0-9a-f-]{36}$/);
  assert.notEqual(stdout, stderr);
  for (const form of [stdout, `main/logstreams/${stdout}`]) {
    assert.equal(await firstOf(reading(form)), 'out\n');
  }
  const views = [await get(name), (await list()).operations.find((one) => one.name === name)];
  const waiting = api.waitExecution(name);
  views.push((await waiting.next()).value as Operation);
  for (const view of views) {
    const metadata = metadataOf(view);
    assert.deepEqual([metadata.stdoutStreamName, metadata.stderrStreamName], [stdout, stderr]);
  }
  const whole = [read(stdout), read(stderr)];
  await open();
  assert.deepEqual(await Promise.all(whole), ['out\nend\n', 'err\n']);
  const last = await Array.fromAsync(states);
  assert.equal(responseOf(last).result?.exitCode, 0);
  assert.equal(metadataOf(last.at(-1)).stdoutStreamName, stdout);
  assert.equal(metadataOf(await get(name)).stderrStreamName, stderr);
});

test('EXE-36, EXE-63: operations of one action share its streams', async (t) => {
  const { action, execute } = await farm(t);
  const { wait, open } = gate(t);
  const digest = await action(`echo out; ${wait}`);
  const first = execute(digest);
  const one = await named(first);
  const second = execute(digest);
  const other = await named(second);
  assert.notEqual(one.name, other.name);
  assert.deepEqual([other.stdout, other.stderr], [one.stdout, one.stderr]);
  await open();
  await Promise.all([Array.fromAsync(first), Array.fromAsync(second)]);
});

test('LOG-12: a cancelled action ends its streams, and what it printed stays readable', async (t) => {
  const { api, action, execute, get, read } = await farm(t);
  const script = `trap 'echo caught; exit 1' TERM; echo before; while :; do sleep 0.02; done`;
  const states = execute(await action(script));
  const { name, stdout } = await named(states);
  const reading = read(stdout);
  await api.cancel(name);
  assert.equal(responseOf(await Array.fromAsync(states)).status?.code, 1);
  assert.equal(await reading, 'before\ncaught\n');
  assert.equal(metadataOf(await get(name)).stdoutStreamName, stdout);
  assert.equal(await read(stdout), 'before\ncaught\n');
});

test('LOG-12: an action that takes too long ends its streams', async (t) => {
  const { api, execute, read } = await farm(t);
  const digest = await api.putAction({
    command: { arguments: ['sh', '-c', 'echo before; sleep 1000'] },
    action: { timeout: { seconds: 1, nanos: 0 } },
  });
  const states = execute(digest);
  const { stdout } = await named(states);
  assert.equal(await read(stdout), 'before\n');
  assert.equal(responseOf(await Array.fromAsync(states)).status?.code, 4);
});
