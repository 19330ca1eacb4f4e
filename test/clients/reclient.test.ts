import assert from 'node:assert/strict';
import { test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import { Code } from '../../src/base/status.ts';
import {
  Compressor_Value,
  DigestFunction_Value,
  Directory,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { ApiClient } from '../support/api-client.ts';
import { blobOf } from '../support/blob-of.ts';
import { startFleet } from '../support/fleet.ts';
import { absentDigests, endOf, startServices } from './services.ts';

const { digest, bytes } = blobOf('int main() { return 0; }\n'.repeat(1000));
const worker = { worker: 'w' };

test('RCL-01: SHA256 stands in the old field of execution and in the list of the cache', async (t) => {
  const { getCapabilities } = await startServices(t, 're-client');
  const { executionCapabilities, cacheCapabilities } = await getCapabilities();
  assert.equal(executionCapabilities?.digestFunction, DigestFunction_Value.SHA256);
  assert.ok(cacheCapabilities?.digestFunctions.includes(DigestFunction_Value.SHA256));
});

test('RCL-02: batches have 4000 digests, and FindMissingBlobs 10,000', async (t) => {
  const { getCapabilities, batchRead, findMissing } = await startServices(t, 're-client');
  const { cacheCapabilities } = await getCapabilities();
  assert.ok(cacheCapabilities && cacheCapabilities.maxBatchTotalSizeBytes > 0, '0 is no batching');
  const tiny = absentDigests(4000).map(({ hash }) => ({ hash, sizeBytes: 1 }));
  assert.equal((await batchRead(tiny)).length, 4000);
  assert.equal((await findMissing(absentDigests(10_000))).length, 10_000);
});

test('RCL-03: a batch of zstd is as large as what is sent', async (t) => {
  const { getCapabilities, batchUpdate } = await startServices(t, 're-client');
  const { cacheCapabilities } = await getCapabilities();
  const { ZSTD } = Compressor_Value;
  assert.ok(cacheCapabilities);
  assert.ok(cacheCapabilities.supportedBatchUpdateCompressors.includes(ZSTD));
  const large = blobOf(Buffer.alloc(cacheCapabilities.maxBatchTotalSizeBytes + 1));
  const data = zstdCompressSync(large.bytes);
  const [response] = await batchUpdate([
    { digest: large.digest.toMessage(), data, compressor: ZSTD },
  ]);
  assert.equal(response?.status?.code, Code.OK);
});

test('RCL-04, RCL-09: the platform of the action counts, and links of the older kind arrive', async (t) => {
  const { rig, getCapabilities, execute } = await startServices(t, 're-client');
  const { highApiVersion } = await getCapabilities();
  assert.ok(highApiVersion && highApiVersion.major === 2 && highApiVersion.minor >= 2);
  const properties = [{ name: 'container-image', value: 'docker://x' }];
  const action = await rig.putAction({ platform: { properties } }, { outputPaths: ['l', 'd'] });
  const links = {
    outputFileSymlinks: [{ path: 'l', target: 'x' }],
    outputDirectorySymlinks: [{ path: 'd', target: 'y' }],
  };
  rig.serve(t, () => ({ result: { ...links, executionMetadata: worker } }), properties);
  const operations = execute(action.toMessage());
  const { result } = endOf(await Array.fromAsync(operations));
  assert.partialDeepStrictEqual(result, links);
});

test('RCL-05: an upload begins again at 0 under its name, its early end is a success, and a packed one is as large as its blob', async (t) => {
  const { write } = await startServices(t, 're-client');
  const other = blobOf('void nothing() {}\n'.repeat(1000));
  const packed = `compressed-blobs/zstd/${other.digest}`;
  const data = zstdCompressSync(other.bytes);
  for (const id of ['1', '2']) {
    const committed = await write(`uploads/${id}/${packed}`, [{ data, finishWrite: true }]);
    assert.equal(committed, other.digest.sizeBytes);
  }
  const name = `uploads/u/blobs/${digest}`;
  await write(name, [{ data: bytes.subarray(0, 100) }]);
  assert.equal(await write(name, [{ data: bytes, finishWrite: true }]), digest.sizeBytes);
  assert.equal(await write(name, [{ data: bytes.subarray(0, 100) }]), digest.sizeBytes);
});

test('RCL-06: an unknown operation is NOT_FOUND, streams are never empty, timeouts are told', async (t) => {
  const { rig, execute, wait } = await startServices(t, 're-client');
  await assert.rejects(Array.fromAsync(wait('main/operations/x')), { code: Code.NOT_FOUND });
  const status = { code: Code.DEADLINE_EXCEEDED, message: 'execution timeout exceeded' };
  rig.serve(t, () => ({ status, result: { executionMetadata: worker } }));
  const operations = await Array.fromAsync(execute((await rig.putAction()).toMessage()));
  assert.equal(endOf(operations).status?.code, Code.DEADLINE_EXCEEDED);
  const again = await Array.fromAsync(wait(operations[0]?.name ?? ''));
  assert.equal(endOf(again).status?.code, Code.DEADLINE_EXCEEDED);
});

test('RCL-07: with many calls at once, each is answered within its deadline', async (t) => {
  const { server } = await startFleet(t);
  const within = (seconds: number) =>
    new ApiClient(t, server.address, 'main', { deadlineMs: seconds * 1000 });
  const [quick, usual, slow] = [within(5), within(20), within(60)];
  const large = blobOf(Buffer.alloc(3 * 2 ** 20, 'x'));
  const folder = blobOf(Directory.encode(Directory.fromPartial({})).finish());
  await slow.put(large);
  const calls = Array.from({ length: 5 }, (_, n) => [
    slow.batchRead({ digests: [large.digest.toMessage()] }),
    slow.getTree({ rootDigest: folder.digest.toMessage() }),
    slow.write(`uploads/${n}/blobs/${large.digest}`, large.bytes, 2 ** 20),
    usual.findMissing({ blobDigests: absentDigests(2000) }),
    quick.capabilities(),
  ]);
  await Promise.all(calls.flat());
});
