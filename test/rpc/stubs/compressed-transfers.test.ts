import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type Chunks, chunksOf, collect, seekable } from '../../../src/base/chunks.ts';
import { Code, StatusError } from '../../../src/base/status.ts';
import { sha256 } from '../../../src/digest/digest-functions.ts';
import { Digest } from '../../../src/digest/digest.ts';
import {
  Compressor_Value,
  ServerCapabilities,
} from '../../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { remoteBlobStore } from '../../../src/rpc/stubs/remote-blob-store.ts';
import {
  transferCodecsOf,
  type WantedCompression,
} from '../../../src/rpc/stubs/remote-capabilities.ts';
import { type Blob, blobOf } from '../../support/blob-of.ts';
import { never } from '../../support/never.ts';
import { randomBytes } from '../../support/seeded-random.ts';
import { piecesOf } from '../../support/sources.ts';
import { fakeCas, type Quirks } from './fake-cas.ts';

const { ZSTD, BROTLI, DEFLATE } = Compressor_Value;
const small = blobOf('small and boring '.repeat(1000));
const large = blobOf('large and boring '.repeat(300_000));

interface Announced {
  readonly streams?: Compressor_Value[];
  readonly batches?: Compressor_Value[];
  readonly wanted?: WantedCompression;
}

const all: Announced = { streams: [ZSTD], batches: [ZSTD] };

async function rig(t: TestContext, announced: Announced, quirks: Quirks = {}) {
  const { channel, ...cas } = await fakeCas(t, quirks);
  const { streams = [], batches = [], wanted = 'zstd' } = announced;
  const capabilities = ServerCapabilities.fromPartial({
    cacheCapabilities: { supportedCompressors: streams, supportedBatchUpdateCompressors: batches },
  });
  const codecs = transferCodecsOf(capabilities, wanted);
  const limits = { batchSizeBytesMax: 4_000_000, blobSizeBytesMax: Infinity };
  const blobs = { channel, instanceName: 'main', limits, codecs, uploadChunking: undefined };
  const store = remoteBlobStore(blobs, () => 'upload-1');
  const write = ({ digest, bytes }: Blob, chunks: Chunks = chunksOf(bytes)) =>
    store.write(digest, chunks, never);
  const read = async ({ digest }: Blob) => Buffer.from(await collect(store.read(digest, 0, never)));
  return { ...cas, write, read };
}

for (const [what, announced, packs] of [
  ['all', all, { streams: true, batches: true }],
  ['streams only', { streams: [ZSTD] }, { streams: true, batches: false }],
  ['batches only', { batches: [BROTLI, ZSTD] }, { streams: false, batches: true }],
  ['nothing', {}, { streams: false, batches: false }],
  ['others only', { streams: [DEFLATE], batches: [BROTLI] }, { streams: false, batches: false }],
  ['all, and none wanted', { ...all, wanted: 'off' }, { streams: false, batches: false }],
] as const satisfies [string, Announced, object][]) {
  test(`CLI-02, CMP-02: blobs travel in zstd only where it is announced: ${what}`, async (t) => {
    const { write, read, calls, routes } = await rig(t, announced);
    for (const blob of [small, large]) {
      await write(blob);
      assert.ok((await read(blob)).equals(blob.bytes));
    }
    assert.equal(calls[0], `batch update 1${packs.batches ? ', 1 zstd' : ''}`);
    assert.equal(calls[1], `batch read 1${packs.streams ? ', zstd' : ''}`);
    const kind = packs.streams ? 'compressed-blobs/zstd' : 'blobs';
    assert.deepEqual(routes, [
      `main/uploads/upload-1/${kind}/${large.digest}`,
      `main/${kind}/${large.digest}`,
    ]);
  });
}

test('what does not compress goes as it is', async (t) => {
  const { write, calls, routes } = await rig(t, all);
  const [noise, lots] = [blobOf(randomBytes(5000, 1)), blobOf(randomBytes(2_000_000, 2))];
  await write(noise);
  await write(lots);
  assert.equal(calls[0], 'batch update 1');
  assert.deepEqual(routes, [`main/uploads/upload-1/blobs/${lots.digest}`]);
});

test('a source that can be read once only goes as it is', async (t) => {
  const { write, plain, routes } = await rig(t, all);
  await write(large, piecesOf(large.bytes));
  assert.equal(plain.blobs.size, 1);
  assert.deepEqual(routes, [`main/uploads/upload-1/blobs/${large.digest}`]);
});

for (const [what, packedCommittedSize] of [
  ['the bytes that were sent', (_: unknown, sentBytes: number) => sentBytes],
  ['the size of the blob', undefined],
  ['-1', () => -1],
] as const) {
  test(`CLI-09: a whole compressed write may be answered with ${what}`, async (t) => {
    const { write, plain } = await rig(t, all, packedCommittedSize ? { packedCommittedSize } : {});
    await write(large);
    assert.equal(plain.blobs.size, 1);
  });
}

test('CLI-09: a compressed write may be answered before its end, and lets go of its source', async (t) => {
  const { write } = await rig(t, all, { earlyCommittedSize: -1 });
  const { promise: left, resolve: leave } = Promise.withResolvers<void>();
  const endless = seekable(async function* from() {
    try {
      for (;;) yield large.bytes.subarray(0, 1000);
    } finally {
      leave();
    }
  });
  const digest = Digest.of(sha256, large.digest.hash, 2 ** 40);
  await write({ digest, bytes: large.bytes }, endless);
  await left;
});

test('a compressed write that the server says is not whole fails', async (t) => {
  const { write } = await rig(t, all, { packedCommittedSize: () => 7 });
  await assert.rejects(write(large), { code: Code.DATA_LOSS });
});

test('CLI-08: a compressed write that breaks goes on plain, so that the next break costs little', async (t) => {
  let breaks = 4;
  const { write, plain, calls, routes } = await rig(t, all, {
    afterWritten: () => {
      if (breaks-- > 0) throw new StatusError(Code.UNAVAILABLE, 'cut');
    },
  });
  await write(large);
  assert.equal(plain.blobs.size, 1);
  assert.equal(calls.filter((call) => call.endsWith(' at 0')).length, 2);
  assert.deepEqual(
    [...new Set(routes)],
    [
      `main/uploads/upload-1/compressed-blobs/zstd/${large.digest}`,
      `main/uploads/upload-1/blobs/${large.digest}`,
    ],
  );
});

for (const [flaw, bytes] of [
  ['too few bytes', large.bytes.subarray(1)],
  ['too many bytes', Buffer.concat([large.bytes, large.bytes.subarray(0, 1)])],
] as const) {
  test(`a compressed write with ${flaw} stores nothing`, async (t) => {
    const { write, plain } = await rig(t, all);
    await assert.rejects(write(large, chunksOf(bytes)), { code: Code.INVALID_ARGUMENT });
    assert.equal(plain.blobs.size, 0);
  });
}

test('CLI-08: a compressed read that breaks goes on plain, where it broke', async (t) => {
  let breaks = 1;
  // Part of it is compressed badly, so that it takes several messages.
  const blob = blobOf(Buffer.concat([randomBytes(1_000_000, 3), large.bytes]));
  const { read, plain, calls, routes } = await rig(t, all, {
    beforeChunk: (offset) => {
      if (offset >= 500_000 && breaks-- > 0) throw new StatusError(Code.UNAVAILABLE, 'cut');
    },
  });
  plain.blobs.set(blob.digest.key, blob.bytes);
  assert.ok((await read(blob)).equals(blob.bytes));
  assert.equal(calls.length, 2);
  assert.match(calls[1] ?? '', /^read from [1-9]/);
  assert.deepEqual(routes, [
    `main/compressed-blobs/zstd/${blob.digest}`,
    `main/blobs/${blob.digest}`,
  ]);
});

for (const blob of [small, large]) {
  const size = `${blob.digest.sizeBytes} bytes`;

  test(`BS-22: a compressed read of ${size} is compared with the digest`, async (t) => {
    const { read, plain } = await rig(t, all);
    plain.blobs.set(blob.digest.key, Buffer.from(blob.bytes).fill('x'));
    await assert.rejects(read(blob), { code: Code.DATA_LOSS });
  });

  test(`CMP-05: a compressed read of ${size} stops where the blob should end`, async (t) => {
    const { read, plain } = await rig(t, all);
    plain.blobs.set(blob.digest.key, Buffer.alloc(50_000_000));
    await assert.rejects(read(blob), { code: Code.DATA_LOSS, message: /more than/ });
  });

  test(`a compressed read of ${size} that is no zstd is the server's fault`, async (t) => {
    const { read, plain } = await rig(t, all, { spoil: (data) => data.map((byte) => byte ^ 1) });
    plain.blobs.set(blob.digest.key, blob.bytes);
    await assert.rejects(read(blob), { code: Code.DATA_LOSS });
  });
}
