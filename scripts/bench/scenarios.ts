import { createHash, randomBytes } from 'node:crypto';
import {
  ActionResult,
  BatchReadBlobsRequest,
  BatchUpdateBlobsRequest,
  BatchUpdateBlobsResponse,
  type Digest,
  FindMissingBlobsRequest,
  GetActionResultRequest,
  UpdateActionResultRequest,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  ReadRequest,
  WriteRequest,
  WriteResponse,
} from '../../src/proto/google/bytestream/bytestream.ts';
import { bytesOf, drain, expect, send, spread, type Target, unary } from './load.ts';

/** One workload. Before each round `prepare` fills the server; what it returns is what is timed. */
export interface Scenario {
  readonly name: string;
  readonly what: string;
  /** What the rate counts. */
  readonly unit: string;
  /** How many of them one round does. */
  readonly amount: number;
  readonly prepare: (target: Target) => Promise<() => Promise<void>>;
}

const cas = '/build.bazel.remote.execution.v2.ContentAddressableStorage';
const actionCache = '/build.bazel.remote.execution.v2.ActionCache';
const MiB = 2 ** 20;

interface Blob {
  readonly data: Buffer;
  readonly digest: Digest;
}

const blobOf = (data: Buffer): Blob => ({
  data,
  digest: { hash: createHash('sha256').update(data).digest('hex'), sizeBytes: data.length },
});
const randomBlobs = (count: number, size: number) =>
  Array.from({ length: count }, () => blobOf(randomBytes(size)));
/**
 * Blobs in the sizes of a build farm's cache, by a published sample: a third each below 100 bytes and
 * below 1 KB, a fifth below 10 KB, a tenth below 100 KB, some up to 1 MB. The rarer larger ones, which
 * would make rounds differ, are left out.
 */
const realBlobs = (count: number) =>
  Array.from({ length: count }, (_, i) => {
    const share = (i * 37) % 100;
    const most = share < 33 ? 100 : share < 67 ? 1e3 : share < 87 ? 1e4 : share < 97 ? 1e5 : 1e6;
    return blobOf(randomBytes(Math.round(most / 2)));
  });
const clientOf = (target: Target, index: number) => {
  const client = target.clients[index % target.clients.length];
  if (!client) throw new Error('no connection');
  return client;
};

const updateRequest = (blobs: readonly Blob[]) =>
  bytesOf(
    BatchUpdateBlobsRequest,
    BatchUpdateBlobsRequest.fromPartial({
      requests: blobs.map(({ digest, data }) => ({ digest, data })),
    }),
  );

/** Reads the blob and drops it, once for all of its bytes. */
async function read(target: Target, index: number, { digest }: Blob): Promise<void> {
  const request = ReadRequest.fromPartial({
    resourceName: `blobs/${digest.hash}/${digest.sizeBytes}`,
  });
  const path = '/google.bytestream.ByteStream/Read';
  const { bytes } = await drain(clientOf(target, index), path, bytesOf(ReadRequest, request));
  expect(bytes > digest.sizeBytes, `${bytes} bytes of ${digest.sizeBytes}`);
}

/** Uploads the blob in messages of `chunkBytes`. */
async function write(target: Target, index: number, blob: Blob, chunkBytes: number): Promise<void> {
  const path = '/google.bytestream.ByteStream/Write';
  const answer = await send(clientOf(target, index), path, writeMessages(blob, chunkBytes));
  const { committedSize } = WriteResponse.decode(answer);
  expect(committedSize === blob.data.length, `committed_size ${committedSize}`);
}

async function updateBatch(target: Target, blobs: readonly Blob[]): Promise<void> {
  const answer = await unary(clientOf(target, 0), `${cas}/BatchUpdateBlobs`, updateRequest(blobs));
  const { responses } = BatchUpdateBlobsResponse.decode(answer);
  expect(responses.length === blobs.length, `${responses.length} responses`);
  expect(
    responses.every(({ status }) => (status?.code ?? 0) === 0),
    'a blob was not stored',
  );
}

async function readBatch(target: Target, blobs: readonly Blob[]): Promise<void> {
  const answer = await unary(
    clientOf(target, 0),
    `${cas}/BatchReadBlobs`,
    bytesOf(
      BatchReadBlobsRequest,
      BatchReadBlobsRequest.fromPartial({ digests: blobs.map(({ digest }) => digest) }),
    ),
  );
  const bytes = blobs.reduce((sum, { data }) => sum + data.length, 0);
  expect(answer.length > bytes, `${answer.length} bytes of ${bytes}`);
}

async function upload(target: Target, blobs: readonly Blob[]): Promise<void> {
  for (let i = 0; i < blobs.length; i += 500) {
    await updateBatch(target, blobs.slice(i, i + 500));
  }
}

function* writeMessages({ digest, data }: Blob, chunkBytes: number): Generator<Buffer> {
  for (let offset = 0; offset < data.length; offset += chunkBytes) {
    const chunk = data.subarray(offset, offset + chunkBytes);
    yield bytesOf(
      WriteRequest,
      WriteRequest.fromPartial({
        resourceName:
          offset === 0
            ? `uploads/${crypto.randomUUID()}/blobs/${digest.hash}/${digest.sizeBytes}`
            : '',
        writeOffset: offset,
        finishWrite: offset + chunk.length === data.length,
        data: chunk,
      }),
    );
  }
}

async function storedResult(target: Target): Promise<Buffer> {
  const outputs = randomBlobs(4, 1000);
  await upload(target, outputs);
  const action = blobOf(randomBytes(100)).digest;
  const actionResult = ActionResult.fromPartial({
    outputFiles: outputs.map(({ digest }, i) => ({ path: `out/file-${i}.o`, digest })),
    executionMetadata: { worker: 'bench' },
  });
  await unary(
    clientOf(target, 0),
    `${actionCache}/UpdateActionResult`,
    bytesOf(
      UpdateActionResultRequest,
      UpdateActionResultRequest.fromPartial({ actionDigest: action, actionResult }),
    ),
  );
  return bytesOf(
    GetActionResultRequest,
    GetActionResultRequest.fromPartial({ actionDigest: action }),
  );
}

const results = (name: string, what: string, amount: number, width: number): Scenario => ({
  name,
  what,
  unit: 'calls',
  amount,
  prepare: async (target) => {
    const request = await storedResult(target);
    return () =>
      spread(amount, width, (i) =>
        unary(clientOf(target, i), `${actionCache}/GetActionResult`, request),
      );
  },
});

const bigRead = (streams: number): Scenario => ({
  name: `big-read ×${streams}`,
  what: `ByteStream.Read of 100 MB, ${streams} at a time`,
  unit: 'MB',
  amount: 100 * streams,
  prepare: async (target) => {
    const blob = blobOf(randomBytes(100e6));
    await write(target, 0, blob, MiB);
    return () => spread(streams, streams, (i) => read(target, i, blob));
  },
});

const bigWrite = (chunkBytes: number, label: string): Scenario => ({
  name: `big-write ${label}`,
  what: `ByteStream.Write of a new 100 MB blob in messages of ${label}`,
  unit: 'MB',
  amount: 100,
  prepare: async (target) => {
    const blob = blobOf(randomBytes(100e6));
    return () => write(target, 0, blob, chunkBytes);
  },
});

const eachBlob = (blobs: readonly Blob[], call: (blob: Blob, index: number) => Promise<void>) =>
  spread(blobs.length, 128, async (i) => {
    const blob = blobs[i];
    if (blob) await call(blob, i);
  });

/** The paths of the protocol that a build leans on, in the order of their weight. */
export const scenarios: readonly Scenario[] = [
  results('ac-storm', 'GetActionResult hit with 4 outputs, 8 connections × 16', 4000, 128),
  results('ac-ping', 'the same, one call at a time', 500, 1),
  {
    name: 'fmb-1000',
    what: 'FindMissingBlobs of 1,000 digests, half of them there, 4 at a time',
    unit: 'digests',
    amount: 100_000,
    prepare: async (target) => {
      const blobs = randomBlobs(1000, 200);
      await upload(target, blobs.slice(0, 500));
      const request = bytesOf(
        FindMissingBlobsRequest,
        FindMissingBlobsRequest.fromPartial({ blobDigests: blobs.map(({ digest }) => digest) }),
      );
      return () =>
        spread(100, 4, async (i) => {
          const answer = await unary(clientOf(target, i), `${cas}/FindMissingBlobs`, request);
          // Both messages hold digests and nothing else, so half of them is half of the bytes.
          expect(answer.length * 2 === request.length, `${answer.length} bytes of missing digests`);
        });
    },
  },
  {
    name: 'small-read',
    what: 'ByteStream.Read of 2,000 blobs of 4 KB, 8 connections × 16',
    unit: 'blobs',
    amount: 2000,
    prepare: async (target) => {
      const blobs = randomBlobs(2000, 4096);
      await upload(target, blobs);
      return () => eachBlob(blobs, (blob, i) => read(target, i, blob));
    },
  },
  {
    name: 'small-write',
    what: 'ByteStream.Write of 2,000 new blobs of 4 KB, 8 connections × 16',
    unit: 'blobs',
    amount: 2000,
    prepare: async (target) => {
      const blobs = randomBlobs(2000, 4096);
      return () => eachBlob(blobs, (blob, i) => write(target, i, blob, MiB));
    },
  },
  bigRead(1),
  bigRead(4),
  bigWrite(16 * 1024, '16 KiB'),
  bigWrite(MiB, '1 MiB'),
  {
    name: 'batch-1k',
    what: 'BatchUpdateBlobs of 1,000 new blobs of 1 KB, then BatchReadBlobs of them, four times',
    unit: 'blobs',
    amount: 8000,
    prepare: async (target) => {
      const batches = Array.from({ length: 4 }, () => randomBlobs(1000, 1000));
      return async () => {
        for (const blobs of batches) {
          await updateBatch(target, blobs);
          await readBatch(target, blobs);
        }
      };
    },
  },
  {
    name: 'mixed-real',
    what: '10 reads to 3 action cache hits, 1 write and 1 FindMissingBlobs of 200, real sizes, 2 × 64',
    unit: 'calls',
    amount: 3000,
    prepare: async (target) => {
      const [stored, fresh] = [realBlobs(400), realBlobs(200)];
      for (const blob of stored) await write(target, 0, blob, MiB);
      const hit = await storedResult(target);
      const asked = FindMissingBlobsRequest.fromPartial({
        blobDigests: stored.slice(0, 200).map(({ digest }) => digest),
      });
      const findMissing = bytesOf(FindMissingBlobsRequest, asked);
      return () =>
        spread(3000, 128, async (i) => {
          const connection = i % 2;
          const kind = Math.floor(i / 2) % 15;
          const turn = Math.floor(i / 30) * 2 + connection;
          const blob = kind === 10 ? fresh[turn] : stored[(turn * 10 + kind) % stored.length];
          if (!blob) throw new Error('no blob');
          if (kind < 10) await read(target, connection, blob);
          else if (kind === 10) await write(target, connection, blob, MiB);
          else if (kind === 11) {
            await unary(clientOf(target, connection), `${cas}/FindMissingBlobs`, findMissing);
          } else await unary(clientOf(target, connection), `${actionCache}/GetActionResult`, hit);
        });
    },
  },
];
