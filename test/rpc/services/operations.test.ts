import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { Code } from '../../../src/base/status.ts';
import {
  CancelOperationRequest,
  GetOperationRequest,
  ListOperationsRequest,
  ListOperationsResponse,
  Operation,
} from '../../../src/proto/google/longrunning/operations.ts';
import { Empty } from '../../../src/proto/google/protobuf/empty.ts';
import { startExecution, unpacked } from './execution-rig.ts';

const path = '/google.longrunning.Operations';
const invalid = { code: Code.INVALID_ARGUMENT };
const notFound = { code: Code.NOT_FOUND };

async function start(t: TestContext) {
  const { rig, execute, client } = await startExecution(t);
  return {
    rig,
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

test('OPS-01, OPS-04, OPS-10: what is unknown is NOT_FOUND', async (t) => {
  const { begin, get, cancel } = await start(t);
  const id = (await begin('a')).split('/').at(-1) ?? '';
  for (const name of [
    `operations/${id}`,
    `cache/operations/${id}`,
    `nope/operations/${id}`,
    id,
    '',
  ]) {
    await assert.rejects(get(name), notFound, name);
    await assert.rejects(cancel(name), notFound, name);
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
  await assert.rejects(list({ filter: 'done=true' }), invalid);
  await assert.rejects(list({ pageToken: 'x' }), invalid);
  await assert.rejects(list({ pageSize: -1 }), invalid);
  await assert.rejects(list({ name: 'nope/operations' }), invalid);
  await assert.rejects(list({ name: 'cache/operations' }), { code: Code.UNIMPLEMENTED });
  await assert.rejects(list({ returnPartialSuccess: true }), { code: Code.UNIMPLEMENTED });
});

test('OPS-07, OPS-08: deleting and waiting are UNIMPLEMENTED', async (t) => {
  const { client } = await start(t);
  for (const method of ['DeleteOperation', 'WaitOperation']) {
    await assert.rejects(client.raw(`${path}/${method}`, new Uint8Array()), {
      code: Code.UNIMPLEMENTED,
    });
  }
});
