import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { Code } from '../../../src/base/status.ts';
import {
  CancelOperationRequest,
  DeleteOperationRequest,
  GetOperationRequest,
  ListOperationsRequest,
  ListOperationsResponse,
  Operation,
  WaitOperationRequest,
} from '../../../src/proto/google/longrunning/operations.ts';
import type { Duration } from '../../../src/proto/google/protobuf/duration.ts';
import { Empty } from '../../../src/proto/google/protobuf/empty.ts';
import type { CallOptions } from '../../support/test-client.ts';
import { startExecution, unpacked } from './execution-rig.ts';

const path = '/google.longrunning.Operations';
const invalid = { code: Code.INVALID_ARGUMENT };
const notFound = { code: Code.NOT_FOUND };

async function start(t: TestContext) {
  const { rig, waitClock, execute, wait, client, listener } = await startExecution(t);
  return {
    rig,
    execute,
    waitExecution: wait,
    waitClock,
    listener,
    client,
    /** Starts an action that differs from the others; its operation's name. */
    begin: async (salt: string) => {
      const action = await rig.putAction({ salt: Buffer.from(salt) });
      const { value } = await execute({ actionDigest: action.toMessage() }).next();
      return (value as Operation).name;
    },
    get: (name: string) =>
      client.unary(`${path}/GetOperation`, GetOperationRequest, Operation, { name }),
    cancel: (name: string) =>
      client.unary(`${path}/CancelOperation`, CancelOperationRequest, Empty, { name }),
    remove: (name: string) =>
      client.unary(`${path}/DeleteOperation`, DeleteOperationRequest, Empty, { name }),
    wait: (name: string, timeout?: Duration, options?: CallOptions) =>
      client.unary(
        `${path}/WaitOperation`,
        WaitOperationRequest,
        Operation,
        { name, timeout },
        options,
      ),
    list: (request: Partial<ListOperationsRequest>) =>
      client.unary(
        `${path}/ListOperations`,
        ListOperationsRequest,
        ListOperationsResponse,
        ListOperationsRequest.fromPartial({ name: 'main/operations', ...request }),
      ),
  };
}

test('OPS-01, OPS-04, OPS-05, OPS-09: an operation is cancelled, and stays so', async (t) => {
  const { begin, get, cancel } = await start(t);
  const name = await begin('a');
  const before = await get(name);
  assert.deepEqual([before.done, before.result], [false, undefined]);
  await cancel(name);
  await cancel(name);
  const after = await get(name);
  assert.ok(after.done);
  const { response } = unpacked(after);
  assert.ok(response);
  assert.equal(response.status?.code, Code.CANCELLED, 'EXE-56');
});

test('OPS-01, OPS-04, OPS-07, OPS-08, OPS-10: what is unknown is NOT_FOUND', async (t) => {
  const { begin, get, cancel, wait, remove } = await start(t);
  const id = (await begin('a')).split('/').at(-1) ?? '';
  for (const name of [
    `operations/${id}`,
    `team/operations/${id}`,
    `cache/operations/${id}`,
    `nope/operations/${id}`,
    id,
    '',
  ]) {
    await assert.rejects(get(name), notFound, name);
    await assert.rejects(cancel(name), notFound, name);
    await assert.rejects(wait(name), notFound, name);
    await assert.rejects(remove(name), notFound, name);
  }
});

test('OPS-02: operations are listed in pages', async (t) => {
  const { begin, list } = await start(t);
  const names: string[] = [];
  for (let n = 0; n < 10; n++) names.push(await begin(`${n}`));
  const seen: string[] = [];
  let pageToken = '';
  let pages = 0;
  do {
    const page = await list({ pageSize: 4, pageToken });
    seen.push(...page.operations.map(({ name }) => name));
    pageToken = page.nextPageToken;
    pages += 1;
  } while (pageToken !== '');
  assert.deepEqual(seen, names);
  assert.equal(pages, 3);
  assert.equal((await list({})).operations.length, 10);
  assert.equal((await list({ name: 'main' })).operations.length, 10);
});

test('OPS-02, OPS-03: what is not supported is refused', async (t) => {
  const { list } = await start(t);
  for (const filter of ['done', 'done=yes', 'done!=true', 'done=true AND done=false', 'name=x']) {
    await assert.rejects(list({ filter }), invalid, filter);
  }
  await assert.rejects(list({ pageToken: 'x' }), invalid);
  await assert.rejects(list({ pageSize: -1 }), invalid);
  await assert.rejects(list({ name: 'nope/operations' }), invalid);
  await assert.rejects(list({ name: 'cache/operations' }), { code: Code.UNIMPLEMENTED });
  await assert.rejects(list({ returnPartialSuccess: true }), { code: Code.UNIMPLEMENTED });
});

test('OPS-02, OPS-10: an instance lists its own operations alone', async (t) => {
  const { begin, list, execute, rig } = await start(t);
  const ours = await begin('a');
  const action = await rig.putAction({ salt: Buffer.from('b') });
  const theirs = await execute({ actionDigest: action.toMessage(), instanceName: 'team' }).next();
  const { name } = theirs.value as Operation;
  for (const [parent, operation] of [
    ['main/operations', ours],
    ['team/operations', name],
  ] as const) {
    const { operations } = await list({ name: parent });
    assert.deepEqual(
      operations.map((listed) => listed.name),
      [operation],
    );
  }
});

test('OPS-02: a filter tells the done operations from the others, also from page to page', async (t) => {
  const { begin, cancel, list } = await start(t);
  const names: string[] = [];
  for (let n = 0; n < 6; n++) names.push(await begin(`${n}`));
  const [a = '', b = '', c = '', ...rest] = names;
  await cancel(b);
  const listed = async (filter: string) =>
    (await list({ filter })).operations.map(({ name }) => name);
  assert.deepEqual(await listed('done=true'), [b]);
  assert.deepEqual(await listed(' done = false '), [a, c, ...rest]);
  const first = await list({ filter: 'done=false', pageSize: 2 });
  assert.deepEqual(
    first.operations.map(({ name }) => name),
    [a, c],
  );
  await cancel(c);
  const { nextPageToken: pageToken } = first;
  const second = await list({ filter: 'done=false', pageToken });
  assert.deepEqual(
    second.operations.map(({ name }) => name),
    rest,
  );
  assert.equal(second.nextPageToken, '');
  const last = await list({ filter: 'done=true', pageSize: 2 });
  assert.equal(last.nextPageToken, '', 'nothing that fits follows');
});

test('OPS-08: waiting ends when the operation is done', async (t) => {
  const { begin, cancel, wait, waitClock } = await start(t);
  const name = await begin('a');
  const waiting = [wait(name), wait(name, { seconds: 3_000_000, nanos: 0 })];
  await waitClock.asleep(2);
  await cancel(name);
  for (const operation of await Promise.all(waiting)) {
    const { response } = unpacked(operation);
    assert.ok(response);
    assert.equal(response.status?.code, Code.CANCELLED);
  }
  assert.ok((await wait(name)).done, 'at once');
});

test('OPS-08, OPS-09: waiting ends with the state of the moment when its time is over', async (t) => {
  const { begin, wait, waitClock } = await start(t);
  const name = await begin('a');
  assert.equal((await wait(name, { seconds: 0, nanos: 0 })).done, false);
  for (const [timeout, ms] of [
    [{ seconds: 1, nanos: 500_000_000 }, 1_500],
    [undefined, 30_000],
    [{ seconds: 3_000_000, nanos: 0 }, 30_000],
  ] as const) {
    const waiting = wait(name, timeout);
    await waitClock.asleep(1);
    waitClock.advance(ms);
    const operation = await waiting;
    assert.deepEqual([operation.done, operation.result], [false, undefined]);
  }
  await assert.rejects(wait(name, { seconds: -1, nanos: 0 }), invalid);
});

test('OPS-08, GEN-22: a server that closes ends waiting with UNAVAILABLE', async (t) => {
  const { begin, wait, waitClock, listener } = await start(t);
  const name = await begin('a');
  const waiting = wait(name);
  await waitClock.asleep(1);
  const closed = listener.close(10_000);
  await assert.rejects(waiting, { code: Code.UNAVAILABLE });
  await closed;
});

test('OPS-07: a deleted operation is NOT_FOUND, and whoever watches it hears its end', async (t) => {
  const { begin, get, cancel, wait, remove, list, rig, execute, waitExecution } = await start(t);
  const action = await rig.putAction();
  const watching = execute({ actionDigest: action.toMessage() });
  const { name } = (await watching.next()).value as Operation;
  const other = await begin('b');
  await remove(name);
  for (const ask of [get, cancel, wait, remove]) await assert.rejects(ask(name), notFound);
  await assert.rejects(waitExecution(name).next(), notFound);
  const left = (await list({})).operations.map((operation) => operation.name);
  assert.deepEqual(left, [other]);
  rig.serve(t, () => ({ result: { exitCode: 0 } }));
  let last: Operation | undefined;
  for await (const operation of watching) last = operation;
  assert.ok(last?.done, 'its action ran');
  await remove(other);
  await assert.rejects(get(other), notFound);
});
