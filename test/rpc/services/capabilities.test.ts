import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { chunksOf } from '../../../src/base/chunks.ts';
import { Code } from '../../../src/base/status.ts';
import { ChunkedBlobs } from '../../../src/chunking/chunked-blobs.ts';
import { allChunkingFunctions } from '../../../src/chunking/chunking-functions.ts';
import { AnnouncedDigestFunctions } from '../../../src/digest/announced-digest-functions.ts';
import { blake3, sha256 } from '../../../src/digest/digest-functions.ts';
import type { Execution } from '../../../src/execution/execution.ts';
import {
  Compressor_Value,
  GetCapabilitiesRequest,
  ServerCapabilities,
  SpliceBlobRequest,
  SpliceBlobResponse,
  SplitBlobRequest,
  SplitBlobResponse,
  SymlinkAbsolutePathStrategy_Value,
} from '../../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { SemVer } from '../../../src/proto/build/bazel/semver/semver.ts';
import { type Instance, Instances } from '../../../src/rpc/instances.ts';
import { capabilities } from '../../../src/rpc/services/capabilities.ts';
import { contentAddressableStorage } from '../../../src/rpc/services/content-addressable-storage.ts';
import { execution as executionService } from '../../../src/rpc/services/execution.ts';
import { blobOf } from '../../support/blob-of.ts';
import { composing } from '../../support/composing.ts';
import { never } from '../../support/never.ts';
import { startServer } from '../../support/start-server.ts';
import { testInstance } from '../../support/test-instance.ts';

const path = '/build.bazel.remote.execution.v2.Capabilities/GetCapabilities';

const cas = '/build.bazel.remote.execution.v2.ContentAddressableStorage';

const asked = () => assert.fail('nobody is to be asked');
const execution: Execution = { execute: asked, wait: asked, cancel: asked };

const servicesOf = (instances: Instances) => [
  ...contentAddressableStorage(instances),
  ...executionService(instances),
];

async function capabilitiesOf(t: TestContext, changes: Partial<Instance>, instanceName = '') {
  const instances = new Instances([testInstance(changes)]);
  const { client } = await startServer(t, [capabilities(instances, servicesOf(instances))]);
  const request = GetCapabilitiesRequest.fromPartial({ instanceName });
  return client.unary(path, GetCapabilitiesRequest, ServerCapabilities, request);
}

test('CAP-04, CAP-05, CAP-06, CAP-07: versions go from 2.0 to 2.12', async (t) => {
  const { lowApiVersion, highApiVersion } = await capabilitiesOf(t, {});
  assert.equal(versionText(lowApiVersion), '2.0.0');
  assert.equal(versionText(highApiVersion), '2.12.0');
});

test('CAP-02: a cache has no execution capabilities', async (t) => {
  const { cacheCapabilities, executionCapabilities } = await capabilitiesOf(t, {});
  assert.ok(cacheCapabilities);
  assert.equal(executionCapabilities, undefined);
});

test('CAP-20, CAP-21, CAP-22, CAP-23, CAP-24: execution announces SHA256 in the old field, and all functions', async (t) => {
  const digestFunctions = new AnnouncedDigestFunctions([blake3, sha256]);
  const { executionCapabilities } = await capabilitiesOf(t, { execution, digestFunctions });
  assert.equal(executionCapabilities?.execEnabled, true);
  assert.equal(executionCapabilities.digestFunction, sha256.value);
  assert.deepEqual(executionCapabilities.digestFunctions, [blake3.value, sha256.value]);
  assert.deepEqual(executionCapabilities.supportedNodeProperties, ['mtime', 'unix_mode']);
  const [range] = executionCapabilities.executionPriorityCapabilities?.priorities ?? [];
  assert.ok(range && range.minPriority <= 0 && range.maxPriority >= 0);
});

test('CAP-02: a server without Execute announces no execution', async (t) => {
  const instances = new Instances([testInstance({ execution })]);
  const { client } = await startServer(t, [capabilities(instances, [])]);
  const answer = await client.unary(path, GetCapabilitiesRequest, ServerCapabilities, {
    instanceName: '',
  });
  assert.equal(answer.executionCapabilities, undefined);
});

test('CAP-20: without SHA256 the old field is one of those announced', async (t) => {
  const digestFunctions = new AnnouncedDigestFunctions([blake3]);
  const { executionCapabilities } = await capabilitiesOf(t, { execution, digestFunctions });
  assert.equal(executionCapabilities?.digestFunction, blake3.value);
});

test('CAP-08, CAP-09, CAP-12, CAP-13, CAP-14, CAP-15, CMP-11: the cache announces what it does', async (t) => {
  const { cacheCapabilities } = await capabilitiesOf(t, { actionCacheUpdates: false });
  assert.ok(cacheCapabilities);
  assert.deepEqual(cacheCapabilities.digestFunctions, [1, 9, 2]);
  assert.equal(cacheCapabilities.actionCacheUpdateCapabilities?.updateEnabled, false);
  assert.ok(cacheCapabilities.maxBatchTotalSizeBytes > 0);
  assert.ok(cacheCapabilities.maxBatchTotalSizeBytes <= 4_194_304);
  assert.ok(cacheCapabilities.maxCasBlobSizeBytes > 0);
  assert.ok([1, 2].includes(cacheCapabilities.symlinkAbsolutePathStrategy));
  const { ZSTD, BROTLI, DEFLATE } = Compressor_Value;
  assert.deepEqual(cacheCapabilities.supportedCompressors, [ZSTD, BROTLI, DEFLATE], 'CMP-11');
  assert.deepEqual(
    cacheCapabilities.supportedBatchUpdateCompressors,
    cacheCapabilities.supportedCompressors,
  );
});

test('CAP-13: where absolute symlinks are not allowed, it says so', async (t) => {
  const { DISALLOWED } = SymlinkAbsolutePathStrategy_Value;
  const { cacheCapabilities } = await capabilitiesOf(t, { absoluteSymlinks: 'disallowed' });
  assert.equal(cacheCapabilities?.symlinkAbsolutePathStrategy, DISALLOWED);
});

test('CAP-17, CAP-18, CAP-19: chunks are announced with the parameters of each function', async (t) => {
  const { cacheCapabilities } = await capabilitiesOf(t, {});
  assert.equal(cacheCapabilities?.splitBlobSupport, true);
  assert.equal(cacheCapabilities.spliceBlobSupport, true);
  const { fastCdc2020Params, repMaxCdcParams } = cacheCapabilities;
  assert.equal(fastCdc2020Params?.avgChunkSizeBytes, 524288);
  assert.equal(fastCdc2020Params.seed, 0);
  assert.equal(repMaxCdcParams?.minChunkSizeBytes, 262144);
  assert.equal(repMaxCdcParams.horizonSizeBytes, 8 * 262144);
});

test('CAP-16: each method for chunks is announced where it is offered, and gives real answers there', async (t) => {
  const instance = testInstance();
  const instances = new Instances([instance]);
  const all = contentAddressableStorage(instances);
  const { digest, bytes } = blobOf(Buffer.alloc(10 * 2 ** 20, 'expbuild'));
  await instance.blobs.write(digest, chunksOf(bytes), never);
  for (const left of [[], ['/SplitBlob'], ['/SpliceBlob'], ['/SplitBlob', '/SpliceBlob']]) {
    const offered = all.filter(({ path: one }) => !left.some((name) => one.endsWith(name)));
    const { client } = await startServer(t, [capabilities(instances, offered), offered]);
    const { cacheCapabilities } = await client.unary(
      path,
      GetCapabilitiesRequest,
      ServerCapabilities,
      { instanceName: '' },
    );
    const blobDigest = digest.toMessage();
    const split = async () => {
      const request = SplitBlobRequest.fromPartial({ blobDigest });
      const { chunkDigests } = await client.unary(
        `${cas}/SplitBlob`,
        SplitBlobRequest,
        SplitBlobResponse,
        request,
      );
      return chunkDigests;
    };
    const splice = async () => {
      const request = SpliceBlobRequest.fromPartial({ blobDigest, chunkDigests: [blobDigest] });
      const answer = await client.unary(
        `${cas}/SpliceBlob`,
        SpliceBlobRequest,
        SpliceBlobResponse,
        request,
      );
      return answer.blobDigest?.hash;
    };
    const [splits, splices] = ['/SplitBlob', '/SpliceBlob'].map((name) => !left.includes(name));
    assert.equal(cacheCapabilities?.splitBlobSupport, splits);
    assert.equal(cacheCapabilities?.spliceBlobSupport, splices);
    if (splits) assert.ok((await split()).length >= 5);
    else await assert.rejects(split(), { code: Code.UNIMPLEMENTED });
    if (splices) assert.equal(await splice(), digest.hash);
    else await assert.rejects(splice(), { code: Code.UNIMPLEMENTED });
  }
});

test('CAP-17: a chunking function that is not there is not announced', async (t) => {
  const blobs = composing(testInstance().blobs);
  const [fastCdc2020] = allChunkingFunctions;
  const chunkedBlobs = new ChunkedBlobs(blobs, [fastCdc2020]);
  const { cacheCapabilities } = await capabilitiesOf(t, { blobs, chunkedBlobs });
  assert.ok(cacheCapabilities?.fastCdc2020Params);
  assert.equal(cacheCapabilities.repMaxCdcParams, undefined);
});

test('CAP-01: each instance is answered for what it does itself', async (t) => {
  const cache = testInstance({ name: 'cache', actionCacheUpdates: false });
  const instances = new Instances([cache, testInstance({ name: 'main', execution })]);
  const { client } = await startServer(t, [capabilities(instances, servicesOf(instances))]);
  const ask = (instanceName: string) =>
    client.unary(path, GetCapabilitiesRequest, ServerCapabilities, { instanceName });
  const [ofCache, ofMain] = [await ask('cache'), await ask('main')];
  assert.equal(ofCache.executionCapabilities, undefined);
  assert.equal(ofCache.cacheCapabilities?.actionCacheUpdateCapabilities?.updateEnabled, false);
  assert.equal(ofMain.executionCapabilities?.execEnabled, true);
  assert.equal(ofMain.cacheCapabilities?.actionCacheUpdateCapabilities?.updateEnabled, true);
});

test('CAP-03, CAP-26: the first call of a connection asks nobody, and every answer is the same', async (t) => {
  const blobs = { findMissing: asked, read: asked, write: asked };
  const actions = { find: asked, update: asked };
  const instances = new Instances([testInstance({ blobs, actions, execution })]);
  const { client } = await startServer(t, [capabilities(instances, servicesOf(instances))]);
  const ask = () => client.raw(path, new Uint8Array(), { deadlineMs: 5000 });
  assert.deepEqual(await ask(), await ask());
});

test('GEN-04: an unknown instance is INVALID_ARGUMENT', async (t) => {
  await assert.rejects(capabilitiesOf(t, {}, 'nope'), { code: Code.INVALID_ARGUMENT });
});

function versionText(version: SemVer | undefined): string {
  const { major, minor, patch, prerelease } = version ?? SemVer.fromPartial({});
  return `${major}.${minor}.${patch}${prerelease}`;
}
