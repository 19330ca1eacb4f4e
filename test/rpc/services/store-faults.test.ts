import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import { Code, StatusError } from '../../../src/base/status.ts';
import type { BlobStore } from '../../../src/cas/blob-store.ts';
import { MemoryBlobs } from '../../../src/cas/memory-blobs.ts';
import {
  BatchReadBlobsRequest,
  BatchReadBlobsResponse,
  BatchUpdateBlobsRequest,
  BatchUpdateBlobsResponse,
  FindMissingBlobsRequest,
  FindMissingBlobsResponse,
  GetTreeRequest,
  GetTreeResponse,
} from '../../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  ReadRequest,
  ReadResponse,
  WriteRequest,
  WriteResponse,
} from '../../../src/proto/google/bytestream/bytestream.ts';
import { Instances } from '../../../src/rpc/instances.ts';
import { byteStream } from '../../../src/rpc/services/byte-stream.ts';
import { contentAddressableStorage } from '../../../src/rpc/services/content-addressable-storage.ts';
import { type Blob, blobOf } from '../../support/blob-of.ts';
import { startServer } from '../../support/start-server.ts';
import { testInstance } from '../../support/test-instance.ts';

const cas = '/build.bazel.remote.execution.v2.ContentAddressableStorage';
const stream = '/google.bytestream.ByteStream';
const small = blobOf('small');
const large = blobOf('the quick brown fox '.repeat(1000));

const away = () => Promise.reject(new StatusError(Code.UNAVAILABLE, 'the store is away'));

/** The services over a store that a test has broken. */
async function start(t: TestContext, blobs: BlobStore) {
  const instances = new Instances([testInstance({ blobs })]);
  const services = [contentAddressableStorage(instances), byteStream(instances)];
  const { client } = await startServer(t, services);
  return {
    findMissing: ({ digest }: Blob) =>
      client.unary(
        `${cas}/FindMissingBlobs`,
        FindMissingBlobsRequest,
        FindMissingBlobsResponse,
        FindMissingBlobsRequest.fromPartial({ blobDigests: [digest.toMessage()] }),
      ),
    update: async (sent: readonly Blob[]) => {
      const requests = sent.map(({ digest, bytes }) => ({
        digest: digest.toMessage(),
        data: bytes,
      }));
      const { responses } = await client.unary(
        `${cas}/BatchUpdateBlobs`,
        BatchUpdateBlobsRequest,
        BatchUpdateBlobsResponse,
        BatchUpdateBlobsRequest.fromPartial({ requests }),
      );
      return responses.map(({ status }) => status?.code);
    },
    batchRead: async ({ digest }: Blob) => {
      const { responses } = await client.unary(
        `${cas}/BatchReadBlobs`,
        BatchReadBlobsRequest,
        BatchReadBlobsResponse,
        BatchReadBlobsRequest.fromPartial({ digests: [digest.toMessage()] }),
      );
      return responses.map(({ status }) => status?.code);
    },
    getTree: ({ digest }: Blob) =>
      Array.fromAsync(
        client.serverStream(
          `${cas}/GetTree`,
          GetTreeRequest,
          GetTreeResponse,
          GetTreeRequest.fromPartial({ rootDigest: digest.toMessage() }),
        ),
      ),
    read: (resourceName: string) =>
      Array.fromAsync(
        client.serverStream(
          `${stream}/Read`,
          ReadRequest,
          ReadResponse,
          ReadRequest.fromPartial({ resourceName }),
        ),
      ),
    write: (resourceName: string, data: Uint8Array) => {
      const { call, response } = client.clientStream(
        `${stream}/Write`,
        WriteRequest,
        WriteResponse,
      );
      call.write(WriteRequest.fromPartial({ resourceName, data, finishWrite: true }));
      call.end();
      return response;
    },
  };
}

test('CAS-15: a blob without room is RESOURCE_EXHAUSTED, the others are stored', async (t) => {
  const { update } = await start(t, new MemoryBlobs({ sizeBytesMax: 1000 }).namespace(''));
  assert.deepEqual(await update([large, small]), [Code.RESOURCE_EXHAUSTED, Code.OK]);
});

test('BS-44: an upload without room is RESOURCE_EXHAUSTED, in every form', async (t) => {
  const { write } = await start(t, new MemoryBlobs({ sizeBytesMax: 1000 }).namespace(''));
  const { digest, bytes } = large;
  const exhausted = { code: Code.RESOURCE_EXHAUSTED };
  await assert.rejects(write(`uploads/u/blobs/${digest}`, bytes), exhausted);
  const packed = zstdCompressSync(bytes);
  await assert.rejects(write(`uploads/u/compressed-blobs/zstd/${digest}`, packed), exhausted);
});

test('CAS-38, ERR-04: a store that is away is UNAVAILABLE, never NOT_FOUND', async (t) => {
  const next = { next: away };
  const { findMissing, update, batchRead, getTree, read, write } = await start(t, {
    findMissing: away,
    read: () => ({ [Symbol.asyncIterator]: () => next }),
    write: away,
  });
  const unavailable = { code: Code.UNAVAILABLE };
  assert.deepEqual(await batchRead(small), [Code.UNAVAILABLE]);
  assert.deepEqual(await update([small]), [Code.UNAVAILABLE]);
  await assert.rejects(findMissing(small), unavailable);
  await assert.rejects(getTree(small), unavailable);
  await assert.rejects(read(`blobs/${small.digest}`), unavailable);
  await assert.rejects(write(`uploads/u/blobs/${small.digest}`, small.bytes), unavailable);
});

for (const form of ['blobs', 'compressed-blobs/zstd'] as const) {
  test(`BS-19: a read as ${form} that meets damage on its way does not end OK`, async (t) => {
    const damaged = async function* () {
      yield large.bytes.subarray(0, 100);
      throw new StatusError(Code.INTERNAL, 'the rest is damaged');
    };
    const { read } = await start(t, {
      findMissing: async () => [],
      read: damaged,
      write: async () => {},
    });
    await assert.rejects(read(`${form}/${large.digest}`), { code: Code.INTERNAL });
  });
}
