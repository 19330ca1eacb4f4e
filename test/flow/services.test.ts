import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { Code } from '../../src/base/status.ts';
import {
  Action,
  ActionResult,
  BatchUpdateBlobsRequest,
  BatchUpdateBlobsResponse,
  Command,
  Directory,
  ExecuteRequest,
  ExecuteResponse,
  FindMissingBlobsRequest,
  FindMissingBlobsResponse,
  GetActionResultRequest,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  ReadRequest,
  ReadResponse,
  WriteRequest,
  WriteResponse,
} from '../../src/proto/google/bytestream/bytestream.ts';
import { Operation } from '../../src/proto/google/longrunning/operations.ts';
import { Instances } from '../../src/rpc/instances.ts';
import { actionCache } from '../../src/rpc/services/action-cache.ts';
import { byteStream } from '../../src/rpc/services/byte-stream.ts';
import { contentAddressableStorage } from '../../src/rpc/services/content-addressable-storage.ts';
import { execution } from '../../src/rpc/services/execution.ts';
import { ExecutionRig } from '../execution/rig.ts';
import { type Blob, blobOf } from '../support/blob-of.ts';
import { startServer } from '../support/start-server.ts';
import { testInstance } from '../support/test-instance.ts';

const api = '/build.bazel.remote.execution.v2';
const instanceName = 'main';

/** A server with the services that a build needs, and the calls that a client makes of them. */
async function start(t: TestContext) {
  const rig = new ExecutionRig(t);
  const { blobs, actions, execution: port, scheduler } = rig;
  const instances = new Instances([
    testInstance({ name: instanceName, blobs, actions, execution: port, operations: scheduler }),
  ]);
  const { client } = await startServer(t, [
    contentAddressableStorage(instances),
    byteStream(instances),
    actionCache(instances, rig.clock),
    execution(instances),
  ]);
  return {
    rig,
    findMissing: async (all: readonly Blob[]) => {
      const blobDigests = all.map(({ digest }) => digest.toMessage());
      const { missingBlobDigests } = await client.unary(
        `${api}.ContentAddressableStorage/FindMissingBlobs`,
        FindMissingBlobsRequest,
        FindMissingBlobsResponse,
        FindMissingBlobsRequest.fromPartial({ instanceName, blobDigests }),
      );
      const hashes = new Set(missingBlobDigests.map(({ hash }) => hash));
      return all.filter(({ digest }) => hashes.has(digest.hash));
    },
    batchUpdate: async (all: readonly Blob[]) => {
      const requests = all.map(({ digest, bytes }) => ({
        digest: digest.toMessage(),
        data: bytes,
      }));
      const { responses } = await client.unary(
        `${api}.ContentAddressableStorage/BatchUpdateBlobs`,
        BatchUpdateBlobsRequest,
        BatchUpdateBlobsResponse,
        BatchUpdateBlobsRequest.fromPartial({ instanceName, requests }),
      );
      for (const { status } of responses) assert.equal(status?.code, Code.OK);
    },
    writeCompressed: async ({ digest, bytes }: Blob) => {
      const { call, response } = client.clientStream(
        '/google.bytestream.ByteStream/Write',
        WriteRequest,
        WriteResponse,
      );
      const resourceName = `${instanceName}/uploads/u/compressed-blobs/zstd/${digest}`;
      const data = zstdCompressSync(bytes);
      call.write(WriteRequest.fromPartial({ resourceName, data, finishWrite: true }));
      call.end();
      assert.equal((await response).committedSize, data.length);
    },
    readCompressed: async (digest: string) => {
      const resourceName = `${instanceName}/compressed-blobs/zstd/${digest}`;
      const parts = await Array.fromAsync(
        client.serverStream(
          '/google.bytestream.ByteStream/Read',
          ReadRequest,
          ReadResponse,
          ReadRequest.fromPartial({ resourceName }),
        ),
      );
      return zstdDecompressSync(Buffer.concat(parts.map(({ data }) => data))).toString();
    },
    getActionResult: (action: Blob) =>
      client.unary(
        `${api}.ActionCache/GetActionResult`,
        GetActionResultRequest,
        ActionResult,
        GetActionResultRequest.fromPartial({
          instanceName,
          actionDigest: action.digest.toMessage(),
          inlineStdout: true,
        }),
      ),
    execute: async (action: Blob): Promise<ExecuteResponse> => {
      const operations = await Array.fromAsync(
        client.serverStream(
          `${api}.Execution/Execute`,
          ExecuteRequest,
          Operation,
          ExecuteRequest.fromPartial({ instanceName, actionDigest: action.digest.toMessage() }),
        ),
      );
      const result = operations.at(-1)?.result;
      assert.ok(result?.$case === 'response');
      return ExecuteResponse.decode(result.value.value);
    },
  };
}

/** The blobs of an action with one large input. */
function inputs() {
  const source = blobOf('int main() { return 0; }\n'.repeat(10_000));
  const file = { name: 'main.c', digest: source.digest.toMessage() };
  const root = blobOf(Directory.encode(Directory.fromPartial({ files: [file] })).finish());
  const command = blobOf(
    Command.encode(Command.fromPartial({ arguments: ['cc', 'main.c'] })).finish(),
  );
  const action = blobOf(
    Action.encode(
      Action.fromPartial({
        commandDigest: command.digest.toMessage(),
        inputRootDigest: root.digest.toMessage(),
      }),
    ).finish(),
  );
  return { source, root, command, action };
}

test('AC-10, EXE-31, EXE-38, EXE-57, CMP-09: what was uploaded is executed, and the cache is hit with its output inlined', async (t) => {
  const { rig, ...client } = await start(t);
  const { source, root, command, action } = inputs();
  const all = [source, root, command, action];
  await assert.rejects(client.getActionResult(action), { code: Code.NOT_FOUND });

  assert.deepEqual(await client.findMissing(all), all);
  await client.writeCompressed(source);
  await client.batchUpdate([root, command, action]);
  assert.deepEqual(await client.findMissing(all), [], 'CAS-07');

  const output = blobOf('compiled');
  const stdout = blobOf('a warning');
  await client.batchUpdate([output, stdout]);
  rig.serve(t, () => ({
    result: {
      outputFiles: [{ path: 'a.out', digest: output.digest.toMessage() }],
      stdoutDigest: stdout.digest.toMessage(),
      executionMetadata: { worker: 'w' },
    },
  }));
  const run = await client.execute(action);
  assert.equal(run.cachedResult, false);
  assert.equal(await client.readCompressed(`${output.digest}`), 'compiled', 'CMP-09');

  const hit = await client.getActionResult(action);
  assert.equal(Buffer.from(hit.stdoutRaw).toString(), 'a warning', 'AC-10, EXE-38');
  assert.equal((await client.execute(action)).cachedResult, true, 'EXE-31, EXE-57');
  assert.equal(rig.leased.length, 1);
});

test('BZL-15, BZL-18: what was evicted is told, and makes the result a miss', async (t) => {
  const { rig, ...client } = await start(t);
  const { source, root, command, action } = inputs();
  await client.batchUpdate([root, command, action]);
  const { status } = await client.execute(action);
  assert.equal(status?.code, Code.FAILED_PRECONDITION);
  await client.writeCompressed(source);

  const output = blobOf('compiled');
  await client.batchUpdate([output]);
  const outputFiles = [{ path: 'a.out', digest: output.digest.toMessage() }];
  rig.serve(t, () => ({ result: { outputFiles, executionMetadata: { worker: 'w' } } }));
  await client.execute(action);
  await client.getActionResult(action);
  rig.blobs.blobs.delete(output.digest.key);
  await assert.rejects(client.getActionResult(action), { code: Code.NOT_FOUND });
  // The worker names an output that it did not upload again.
  assert.equal((await client.execute(action)).status?.code, Code.UNAVAILABLE);
});
