import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { chunksOf, collect } from '../../../src/base/chunks.ts';
import { Code } from '../../../src/base/status.ts';
import type { BlobStore } from '../../../src/cas/blob-store.ts';
import { sha1, sha256 } from '../../../src/digest/digest-functions.ts';
import { Digest } from '../../../src/digest/digest.ts';
import {
  ChunkingFunction_Value,
  SpliceBlobRequest,
  SpliceBlobResponse,
  SplitBlobRequest,
  SplitBlobResponse,
} from '../../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { type Instance, Instances } from '../../../src/rpc/instances.ts';
import { contentAddressableStorage } from '../../../src/rpc/services/content-addressable-storage.ts';
import { blobOf } from '../../support/blob-of.ts';
import { openFilesystemBlobs } from '../../support/filesystem-blobs.ts';
import { never } from '../../support/never.ts';
import { seededRandom } from '../../support/seeded-random.ts';
import { startServer } from '../../support/start-server.ts';
import { testInstance } from '../../support/test-instance.ts';

const path = '/build.bazel.remote.execution.v2.ContentAddressableStorage';
const { FAST_CDC_2020, REP_MAX_CDC } = ChunkingFunction_Value;
const invalid = { code: Code.INVALID_ARGUMENT };

const random = seededRandom(8);
const large = blobOf(Uint8Array.from({ length: 5 * 2 ** 20 }, () => random() * 256));

async function start(t: TestContext, changes: Partial<Instance> = {}) {
  const instance = testInstance(changes);
  const other = testInstance({ name: 'other' });
  const instances = new Instances([instance, other]);
  const { client } = await startServer(t, [contentAddressableStorage(instances)]);
  return {
    blobs: instance.blobs,
    otherBlobs: other.blobs,
    put: async (content: string | Uint8Array) => {
      const { digest, bytes } = blobOf(content);
      await instance.blobs.write(digest, chunksOf(bytes), never);
      return digest.toMessage();
    },
    split: (request: Parameters<typeof SplitBlobRequest.fromPartial>[0]) =>
      client.unary(
        `${path}/SplitBlob`,
        SplitBlobRequest,
        SplitBlobResponse,
        SplitBlobRequest.fromPartial(request),
      ),
    splice: (request: Parameters<typeof SpliceBlobRequest.fromPartial>[0]) =>
      client.unary(
        `${path}/SpliceBlob`,
        SpliceBlobRequest,
        SpliceBlobResponse,
        SpliceBlobRequest.fromPartial(request),
      ),
  };
}

async function onDisk(t: TestContext): Promise<Partial<Instance>> {
  return { blobs: (await openFilesystemBlobs(t)).namespace('') };
}

async function copy(digest: Digest, from: BlobStore, to: BlobStore): Promise<void> {
  await to.write(digest, from.read(digest, 0, never), never);
}

for (const [where, changesOf] of [
  ['in memory', async () => ({})],
  ['on disk', onDisk],
] as const) {
  describe(`blobs ${where}`, () => {
    for (const chunkingFunction of [FAST_CDC_2020, REP_MAX_CDC]) {
      it(`CDC-10, CDC-22: are split by ${chunkingFunction}, and put together elsewhere`, async (t) => {
        const { blobs, otherBlobs, put, split, splice } = await start(t, await changesOf(t));
        const blobDigest = await put(large.bytes);
        const parts = await split({ blobDigest, chunkingFunction });
        assert.equal(parts.chunkingFunction, chunkingFunction);
        assert.ok(parts.chunkDigests.length > 2);
        const request = { ...parts, blobDigest, instanceName: 'other' };
        await assert.rejects(splice(request), { code: Code.NOT_FOUND });
        for (const message of parts.chunkDigests) {
          await copy(Digest.fromMessage(sha256, message, ''), blobs, otherBlobs);
        }
        const spliced = await splice(request);
        assert.equal(spliced.blobDigest?.hash, large.digest.hash);
        assert.equal(spliced.blobDigest.sizeBytes, large.digest.sizeBytes);
        assert.deepEqual(await otherBlobs.findMissing([large.digest], never), []);
        const whole = await collect(otherBlobs.read(large.digest, 0, never));
        assert.ok(Buffer.from(large.bytes).equals(whole));
      });
    }
  });
}

describe('SplitBlob', () => {
  it('CDC-11: one chunk up to four times the average, none for the empty blob', async (t) => {
    const { put, split } = await start(t);
    const threshold = 4 * 524288;
    for (const [size, count] of [
      [0, 0],
      [1, 1],
      [threshold, 1],
      [threshold + 1, 2],
    ] as const) {
      const blobDigest = await put(Buffer.alloc(size));
      assert.equal((await split({ blobDigest })).chunkDigests.length, count, `${size} bytes`);
    }
  });

  it('CDC-04, GEN-05: a blob of another instance is NOT_FOUND', async (t) => {
    const { put, split } = await start(t);
    const blobDigest = await put('here');
    const request = { blobDigest, instanceName: 'other' };
    await assert.rejects(split(request), { code: Code.NOT_FOUND });
  });

  it('CDC-13: a list too long for a message is RESOURCE_EXHAUSTED before anything is read', async (t) => {
    const huge: BlobStore = {
      findMissing: async () => [],
      read: () => assert.fail(),
      write: () => assert.fail(),
    };
    const { split } = await start(t, { blobs: huge });
    const blobDigest = { ...large.digest.toMessage(), sizeBytes: 60 * 2 ** 30 };
    await assert.rejects(split({ blobDigest }), { code: Code.RESOURCE_EXHAUSTED });
  });

  it('DIG-19, GEN-04: without a digest, or an instance, it is INVALID_ARGUMENT', async (t) => {
    const { split } = await start(t);
    const blobDigest = large.digest.toMessage();
    await assert.rejects(split({}), invalid);
    await assert.rejects(split({ blobDigest, instanceName: 'nope' }), invalid);
  });
});

describe('SpliceBlob', () => {
  for (const chunkingFunction of [0, 77 as 1] as const) {
    it(`CDC-20: takes any cut when the function is ${chunkingFunction}`, async (t) => {
      const { put, splice } = await start(t);
      const chunkDigests = [await put('a'), await put('bcd'), await put('ef')];
      const { digest } = blobOf('abcdef');
      const request = { blobDigest: digest.toMessage(), chunkDigests, chunkingFunction };
      assert.equal((await splice(request)).blobDigest?.hash, digest.hash);
    });
  }

  it('CDC-19: the response names the blob by the digest function of its chunks', async (t) => {
    const { blobs, splice } = await start(t);
    for (const digestFunction of [sha256, sha1]) {
      const digestOf = (text: string) => Digest.ofBytes(digestFunction, Buffer.from(text));
      for (const chunk of ['a', 'bc']) {
        await blobs.write(digestOf(chunk), chunksOf(Buffer.from(chunk)), never);
      }
      const blobDigest = digestOf('abc').toMessage();
      const chunkDigests = ['a', 'bc'].map((chunk) => digestOf(chunk).toMessage());
      const spliced = await splice({
        blobDigest,
        chunkDigests,
        digestFunction: digestFunction.value,
      });
      assert.partialDeepStrictEqual(spliced.blobDigest, blobDigest);
      assert.deepEqual(await blobs.findMissing([digestOf('abc')], never), []);
    }
  });

  it('CDC-12: what was spliced of any chunks is split by the function that the answer names', async (t) => {
    const { blobs, put, split, splice } = await start(t);
    const { bytes } = large;
    const at = 1_234_567;
    const chunkDigests = [await put(bytes.subarray(0, at)), await put(bytes.subarray(at))];
    const blobDigest = large.digest.toMessage();
    await splice({ blobDigest, chunkDigests });
    for (const chunkingFunction of [FAST_CDC_2020, REP_MAX_CDC]) {
      const parts = await split({ blobDigest, chunkingFunction });
      assert.equal(parts.chunkingFunction, chunkingFunction);
      const chunks = parts.chunkDigests.map((chunk) => Digest.fromMessage(sha256, chunk, ''));
      const read = await Promise.all(chunks.map((chunk) => collect(blobs.read(chunk, 0, never))));
      assert.ok(Buffer.concat(read).equals(bytes));
      const fresh = await start(t);
      const uploaded = await fresh.split({ blobDigest: await fresh.put(bytes), chunkingFunction });
      assert.deepEqual(uploaded.chunkDigests, parts.chunkDigests);
    }
  });

  it('CDC-15, CI-01: chunks of another blob are INVALID_ARGUMENT and leave nothing', async (t) => {
    const { blobs, put, splice } = await start(t);
    const chunkDigests = [await put('b'), await put('a')];
    const { digest } = blobOf('ab');
    await assert.rejects(splice({ blobDigest: digest.toMessage(), chunkDigests }), invalid);
    assert.deepEqual(await blobs.findMissing([digest], never), [digest]);
  });

  it('HI-28, CDC-14, CDC-21, DIG-09, BS-43: requests that make no sense are INVALID_ARGUMENT', async (t) => {
    const { put, splice } = await start(t);
    const chunk = await put('a');
    const chunkDigests = [chunk];
    const other = Digest.ofBytes(sha1, Buffer.from('b')).toMessage();
    for (const request of [
      { chunkDigests },
      { blobDigest: blobOf('aa').digest.toMessage(), chunkDigests },
      { blobDigest: blobOf('ab').digest.toMessage(), chunkDigests: [chunk, other] },
      { blobDigest: { ...chunk, sizeBytes: 2 ** 40 }, chunkDigests },
      { blobDigest: { ...chunk, hash: 'no hash' }, chunkDigests },
      { blobDigest: chunk, chunkDigests: [{ ...chunk, sizeBytes: -1 }] },
    ]) {
      await assert.rejects(splice(request), invalid);
    }
  });
});
