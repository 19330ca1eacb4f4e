import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  GetCapabilitiesRequest,
  ServerCapabilities,
} from '../../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { blobLimitsOf, fetchCapabilities } from '../../../src/rpc/stubs/remote-capabilities.ts';
import { never } from '../../support/never.ts';
import { fakeServer, unary } from './fake-server.ts';

test('CLI-01: the capabilities of an instance are asked for by its name', async (t) => {
  const path = '/build.bazel.remote.execution.v2.Capabilities/GetCapabilities';
  const channel = await fakeServer(t, [
    unary(path, GetCapabilitiesRequest, ServerCapabilities, ({ instanceName }) =>
      ServerCapabilities.fromPartial({ deprecatedApiVersion: { prerelease: instanceName } }),
    ),
  ]);
  const capabilities = await fetchCapabilities(channel, 'main', never);
  assert.equal(capabilities.deprecatedApiVersion?.prerelease, 'main');
});

const fitting = 4 * 2 ** 20 - 64 * 2 ** 10;

for (const [batch, blob, batchSizeBytesMax, blobSizeBytesMax] of [
  [0, 0, fitting, Infinity],
  [1000, 2000, 1000, 2000],
  [2 ** 30, 2 ** 40, fitting, 2 ** 40],
] as const) {
  test(`CLI-03: limits announced as ${batch} and ${blob}`, () => {
    const capabilities = ServerCapabilities.fromPartial({
      cacheCapabilities: { maxBatchTotalSizeBytes: batch, maxCasBlobSizeBytes: blob },
    });
    assert.deepEqual(blobLimitsOf(capabilities), { batchSizeBytesMax, blobSizeBytesMax });
  });
}

test('CLI-03: a server without a cache names no limits', () => {
  assert.deepEqual(blobLimitsOf(ServerCapabilities.fromPartial({})), {
    batchSizeBytesMax: fitting,
    blobSizeBytesMax: Infinity,
  });
});
