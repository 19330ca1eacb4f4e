import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { assetClient } from '../support/asset-client.ts';
import { blobOf } from '../support/blob-of.ts';
import { ApiClient, responseOf } from '../support/api-client.ts';
import {
  GetTreeRequest,
  GetTreeResponse,
  SplitBlobRequest,
  SplitBlobResponse,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  DeleteOperationRequest,
  GetOperationRequest,
  ListOperationsRequest,
  ListOperationsResponse,
  Operation,
} from '../../src/proto/google/longrunning/operations.ts';
import { Empty } from '../../src/proto/google/protobuf/empty.ts';
import { inReverse } from '../support/in-reverse.ts';
import { startTestServer } from '../support/start-expbuild-server.ts';
import { startTestWorker } from '../support/start-worker.ts';
import { tempDir } from '../support/temp-dir.ts';
import { TestClient } from '../support/test-client.ts';

const names = ['', 'main', 'team/linux/release'];
const sharing = 'team/mac';
const toml = `
instance_names = ${JSON.stringify([...names, sharing])}

[shared_storage]
"${sharing}" = "team/linux/release"
`;

/** A server of several instances with one worker, and clients of any of them. */
async function start(context: TestContext) {
  const t = inReverse(context);
  const folder = tempDir(t);
  const { address } = await startTestServer(t, { folder, toml });
  await startTestWorker(t, { server: address, folder: tempDir(t) });
  const client = new TestClient(t, address);
  const operations = '/google.longrunning.Operations';
  const cas = '/build.bazel.remote.execution.v2.ContentAddressableStorage';
  return {
    assets: assetClient(t, address),
    of: (instanceName: string) => new ApiClient(t, address, instanceName),
    tree: (instanceName: string, rootDigest: { hash: string; sizeBytes: number }) =>
      Array.fromAsync(
        client.serverStream(
          `${cas}/GetTree`,
          GetTreeRequest,
          GetTreeResponse,
          GetTreeRequest.fromPartial({ instanceName, rootDigest }),
        ),
      ),
    split: (instanceName: string, blobDigest: { hash: string; sizeBytes: number }) =>
      client.unary(
        `${cas}/SplitBlob`,
        SplitBlobRequest,
        SplitBlobResponse,
        SplitBlobRequest.fromPartial({ instanceName, blobDigest }),
      ),
    list: async (instanceName: string) => {
      const name = instanceName === '' ? 'operations' : `${instanceName}/operations`;
      const request = ListOperationsRequest.fromPartial({ name });
      const types = [ListOperationsRequest, ListOperationsResponse] as const;
      const { operations: listed } = await client.unary(
        `${operations}/ListOperations`,
        ...types,
        request,
      );
      return listed.map((operation) => operation.name);
    },
    getOperation: (name: string) =>
      client.unary(`${operations}/GetOperation`, GetOperationRequest, Operation, { name }),
    deleteOperation: (name: string) =>
      client.unary(`${operations}/DeleteOperation`, DeleteOperationRequest, Empty, { name }),
  };
}

/** A command whose result is another each time that it runs. */
const command = { arguments: ['sh', '-c', 'head -c 8 /dev/urandom | od'] };
const notFound = { code: Code.NOT_FOUND };

test('GEN-01: names of no, one and three segments are instances in every service', async (t) => {
  const { of, list, getOperation } = await start(t);
  for (const name of names) {
    const client = of(name);
    assert.ok((await client.capabilities()).executionCapabilities?.execEnabled, name);
    const blob = blobOf(`a blob of ${name}`);
    await client.write(`uploads/u/blobs/${blob.digest}`, blob.bytes);
    assert.deepEqual(await client.read(`blobs/${blob.digest}`), blob.bytes);
    const blobDigests = [blob.digest.toMessage()];
    assert.deepEqual((await client.findMissing({ blobDigests })).missingBlobDigests, []);

    const actionDigest = await client.putAction({ command });
    const states = await Array.fromAsync(client.execute({ actionDigest }));
    const { result } = responseOf(states);
    assert.equal((await client.text(result?.stdoutDigest)).startsWith('0000000 '), true);
    const cached = await client.getActionResult({ actionDigest });
    assert.deepEqual(cached.stdoutDigest, result?.stdoutDigest);

    const operation = states[0]?.name ?? '';
    const beforeId = operation.split('/').slice(0, -1).join('/');
    assert.equal(beforeId, name === '' ? 'operations' : `${name}/operations`);
    assert.deepEqual(await list(name), [operation]);
    assert.equal((await getOperation(operation)).done, true);
    responseOf(await Array.fromAsync(client.waitExecution(operation)));
  }
});

test('GEN-05: what one instance has is in no call of another', async (t) => {
  const { of, tree, split, list, getOperation, deleteOperation } = await start(t);
  const [owner, other] = ['main', 'team/linux/release'] as const;
  const mine = of(owner);
  const theirs = of(other);
  const { bytes, digest } = blobOf('b'.repeat(100_000));
  const upload = `uploads/u/blobs/${digest}`;
  await mine.write(upload, bytes);
  const message = digest.toMessage();
  const root = { directories: [{ name: 'sub', digest: message }] };
  const actionDigest = await mine.putAction({ command, root });
  const ran = await Array.fromAsync(
    mine.execute({ actionDigest: await mine.putAction({ command }) }),
  );
  const operation = ran[0]?.name ?? '';

  for (const asked of [message, actionDigest]) {
    const { missingBlobDigests } = await theirs.findMissing({ blobDigests: [asked] });
    assert.equal(missingBlobDigests.length, 1);
  }
  const { responses } = await theirs.batchRead({ digests: [message] });
  assert.equal(responses[0]?.status?.code, Code.NOT_FOUND);
  await assert.rejects(theirs.read(`blobs/${digest}`), notFound);
  await assert.rejects(tree(other, actionDigest), notFound);
  await assert.rejects(split(other, message), notFound);
  assert.equal((await theirs.queryWriteStatus(upload)).complete, false);
  assert.equal((await mine.queryWriteStatus(upload)).complete, true);

  const cachedAction = await mine.putAction({ command });
  assert.ok(await mine.getActionResult({ actionDigest: cachedAction }));
  await assert.rejects(theirs.getActionResult({ actionDigest: cachedAction }), notFound);
  const { status } = await theirs.run({ actionDigest: cachedAction });
  assert.equal(status?.code, Code.FAILED_PRECONDITION, 'the action is not stored there');

  const refused = (await list(other)).at(-1) ?? '';
  assert.match(refused, new RegExp(`^${other}/operations/`));
  assert.deepEqual(await list(owner), [operation]);
  assert.deepEqual(await list(''), []);
  const forged = `${other}/operations/${operation.split('/').at(-1)}`;
  await assert.rejects(getOperation(forged), notFound);
  await assert.rejects(deleteOperation(forged), notFound);
  await assert.rejects(theirs.cancel(forged), notFound);
  await assert.rejects(Array.fromAsync(theirs.waitExecution(forged)), notFound);
  assert.ok(await getOperation(operation));
});

test('GEN-05: instances that share storage have blobs, results and assets together, and operations apart', async (t) => {
  const { of, list, split, assets } = await start(t);
  const shared = of('team/linux/release');
  const sharer = of(sharing);
  const { bytes, digest } = blobOf('given by either');
  await sharer.write(`uploads/u/blobs/${digest}`, bytes);
  assert.deepEqual(await shared.read(`blobs/${digest}`), bytes);
  assert.ok((await split('team/linux/release', digest.toMessage())).chunkDigests.length > 0);

  const uris = ['urn:of-either'];
  await assets.pushBlob({ uris, blobDigest: digest.toMessage(), instanceName: sharing });
  const fetchedFrom = async (instanceName: string) =>
    (await assets.fetchBlob({ uris, instanceName })).status?.code;
  assert.equal(await fetchedFrom('team/linux/release'), Code.OK);
  assert.equal(await fetchedFrom('main'), Code.NOT_FOUND);

  const actionDigest = await shared.putAction({ command });
  const first = await sharer.run({ actionDigest });
  assert.equal(first.cachedResult, false);
  const second = await shared.run({ actionDigest });
  assert.equal(second.cachedResult, true);
  assert.deepEqual(second.result?.stdoutDigest, first.result?.stdoutDigest);
  await assert.rejects(of('main').getActionResult({ actionDigest }), notFound);

  const [own, theirs] = [await list(sharing), await list('team/linux/release')];
  assert.equal(own.length, 1);
  assert.equal(theirs.length, 1);
  assert.notDeepEqual(own, theirs);
});
