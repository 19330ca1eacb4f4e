import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { MemoryBlobs } from '../../src/cas/memory-blobs.ts';
import {
  ActionResult,
  Compressor_Value,
  type DeepPartial,
  DigestFunction_Value,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { type Instance, Instances } from '../../src/rpc/instances.ts';
import { actionCache } from '../../src/rpc/services/action-cache.ts';
import { capabilities } from '../../src/rpc/services/capabilities.ts';
import { contentAddressableStorage } from '../../src/rpc/services/content-addressable-storage.ts';
import { ApiClient } from '../support/api-client.ts';
import { type Blob, blobOf } from '../support/blob-of.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { startTestServer } from '../support/start-expbuild-server.ts';
import { startServer } from '../support/start-server.ts';
import { tempDir } from '../support/temp-dir.ts';
import { testInstance } from '../support/test-instance.ts';

const instanceName = 'moon-outputs';

async function start(t: TestContext): Promise<ApiClient> {
  const text = `instance_names = ["${instanceName}"]`;
  const { address } = await startTestServer(t, { folder: tempDir(t), toml: text });
  return new ApiClient(t, address, instanceName);
}

test('MOO-01: SHA256 is announced, and zstd for streams and for batches', async (t) => {
  const { cacheCapabilities } = await (await start(t)).capabilities();
  assert.ok(cacheCapabilities);
  assert.ok(cacheCapabilities.digestFunctions.includes(DigestFunction_Value.SHA256));
  assert.ok(cacheCapabilities.supportedCompressors.includes(Compressor_Value.ZSTD));
  assert.ok(cacheCapabilities.supportedBatchUpdateCompressors.includes(Compressor_Value.ZSTD));
});

async function startInstance(t: TestContext, changes: Partial<Instance>): Promise<ApiClient> {
  const instances = new Instances([testInstance({ name: instanceName, ...changes })]);
  const stored = contentAddressableStorage(instances);
  const { listener } = await startServer(t, [
    capabilities(instances, stored),
    actionCache(instances, new FakeClock()),
    stored,
  ]);
  return new ApiClient(t, listener.address, instanceName);
}

for (const updateEnabled of [true, false]) {
  test(`MOO-04: update_enabled=${updateEnabled} is announced, and so it is`, async (t) => {
    const moon = await startInstance(t, { actionCacheUpdates: updateEnabled });
    const { cacheCapabilities } = await moon.capabilities();
    const announced = cacheCapabilities?.actionCacheUpdateCapabilities?.updateEnabled ?? false;
    assert.equal(announced, updateEnabled);
    const actionDigest = blobOf('{"action":"as JSON"}').digest.toMessage();
    const actionResult = { executionMetadata: { worker: 'moon' } };
    const update = moon.updateActionResult({ actionDigest, actionResult });
    if (updateEnabled) await update;
    else await assert.rejects(update, { code: Code.PERMISSION_DENIED });
  });
}

test('MOO-04: a batch that is full by its reckoning is taken and given back', async (t) => {
  const moon = await start(t);
  const { cacheCapabilities } = await moon.capabilities();
  const batchBytes = cacheCapabilities?.maxBatchTotalSizeBytes || 4 * 2 ** 20;
  const blobBytes = 100_000;
  const count = Math.floor(batchBytes / (blobBytes + 300));
  const blobs: Blob[] = Array.from({ length: count }, (_, n) => blobOf(Buffer.alloc(blobBytes, n)));
  const left = batchBytes - count * (blobBytes + 300) - 300;
  if (left > 0) blobs.push(blobOf(Buffer.alloc(left, 'x')));
  await moon.put(...blobs);
  const digests = blobs.map(({ digest }) => digest.toMessage());
  const { responses } = await moon.batchRead({ digests });
  assert.ok(responses.every(({ data }, n) => data.length === digests[n]?.sizeBytes));
});

test('MOO-05: a miss is NOT_FOUND, for results and for each blob, and no room RESOURCE_EXHAUSTED', async (t) => {
  const moon = await startInstance(t, {
    blobs: new MemoryBlobs({ sizeBytesMax: 10_000 }).namespace(''),
  });
  const [there, absent] = [blobOf('there'), blobOf('absent')];
  const actionDigest = absent.digest.toMessage();
  await assert.rejects(moon.getActionResult({ actionDigest }), { code: Code.NOT_FOUND });
  await moon.put(there);
  const digests = [there, absent].map(({ digest }) => digest.toMessage());
  const { responses } = await moon.batchRead({ digests });
  assert.deepEqual(
    responses.map(({ status }) => status?.code),
    [Code.OK, Code.NOT_FOUND],
  );
  const { digest, bytes } = blobOf('x'.repeat(20_000));
  const update = await moon.batchUpdate({
    requests: [{ digest: digest.toMessage(), data: bytes }],
  });
  assert.equal(update.responses[0]?.status?.code, Code.RESOURCE_EXHAUSTED);
});

test('MOO-06: its results come back as it stored them', async (t) => {
  const moon = await start(t);
  const file = blobOf('output');
  await moon.put(file);
  const nodeProperties = { mtime: { seconds: 1_700_000_000, nanos: 5 }, unixMode: 0o755 };
  const actionResult: DeepPartial<ActionResult> = {
    outputFiles: [
      { path: 'o/f', digest: file.digest.toMessage(), isExecutable: true, nodeProperties },
    ],
    outputSymlinks: [{ path: 'o/l', target: 'f', nodeProperties }],
    executionMetadata: { worker: 'moon', workerStartTimestamp: { seconds: 1, nanos: 2 } },
  };
  const actionDigest = blobOf('{"action":"as JSON"}').digest.toMessage();
  await moon.updateActionResult({ actionDigest, actionResult });
  const stored = await moon.getActionResult({ actionDigest });
  assert.deepEqual(
    stored,
    ActionResult.decode(ActionResult.encode(ActionResult.fromPartial(actionResult)).finish()),
  );
});

test('MOO-07: the last message may be empty, and one uuid serves many uploads at once', async (t) => {
  const moon = await start(t);
  const blobs = Array.from({ length: 10 }, (_, n) => blobOf(Buffer.alloc(1_000_000, n)));
  const sizes = await Promise.all(
    blobs.map(({ digest, bytes }) =>
      moon.writeMessages(`uploads/of-this-run/blobs/${digest}`, [
        { data: bytes.subarray(0, 600_000) },
        { writeOffset: 600_000, data: bytes.subarray(600_000) },
        { writeOffset: bytes.length, finishWrite: true },
      ]),
    ),
  );
  assert.deepEqual(
    sizes,
    blobs.map(({ bytes }) => bytes.length),
  );
  const again = blobOf(Buffer.alloc(1_000_000, 3));
  const size = await moon.write(`uploads/of-this-run/blobs/${again.digest}`, again.bytes);
  assert.ok(size === again.bytes.length || size === -1, `${size}`);
});
