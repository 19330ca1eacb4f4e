import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type Chunks, chunksOf, collect } from '../../../src/base/chunks.ts';
import { Code, StatusError } from '../../../src/base/status.ts';
import {
  type CacheCapabilities,
  ServerCapabilities,
} from '../../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  uploadChunkingOf,
  type WantedChunking,
} from '../../../src/rpc/stubs/announced-chunking.ts';
import { remoteBlobStore } from '../../../src/rpc/stubs/remote-blob-store.ts';
import { type Blob, blobOf } from '../../support/blob-of.ts';
import { never } from '../../support/never.ts';
import { randomBytes } from '../../support/seeded-random.ts';
import { piecesOf } from '../../support/sources.ts';
import { fakeCas, type Quirks } from './fake-cas.ts';

const KIB = 2 ** 10;
const avgBytes = 64 * KIB;
const noise = randomBytes(3_000_000, 1);
const large = blobOf(noise);
/** The same with some bytes more in the middle. */
const changed = blobOf(
  Buffer.concat([noise.subarray(0, 1_500_000), randomBytes(99, 2), noise.subarray(1_500_000)]),
);

type Announced = Partial<
  Pick<
    CacheCapabilities,
    'spliceBlobSupport' | 'splitBlobSupport' | 'fastCdc2020Params' | 'repMaxCdcParams'
  >
>;

const all: Announced = {
  splitBlobSupport: true,
  spliceBlobSupport: true,
  fastCdc2020Params: { avgChunkSizeBytes: avgBytes, seed: 0 },
};

const repMaxCdcParams = { minChunkSizeBytes: 32 * KIB, horizonSizeBytes: 256 * KIB };

/** Fails each splice. */
const refuses = (name: keyof typeof Code): Quirks => ({
  spliceError: () => new StatusError(Code[name], 'no'),
});

interface RigOptions {
  readonly announced?: Announced;
  readonly wanted?: WantedChunking;
  readonly quirks?: Quirks;
}

async function rig(t: TestContext, options: RigOptions = {}) {
  const { announced = all, wanted = 'uploads', quirks = {} } = options;
  const { channel, ...cas } = await fakeCas(t, quirks);
  const capabilities = ServerCapabilities.fromPartial({ cacheCapabilities: announced });
  const store = remoteBlobStore(
    {
      channel,
      instanceName: 'main',
      limits: { batchSizeBytesMax: 4_000_000, blobSizeBytesMax: Infinity },
      codecs: { streams: undefined, batches: undefined },
      uploadChunking: uploadChunkingOf(capabilities, wanted),
    },
    () => 'upload-1',
  );
  const write = ({ digest, bytes }: Blob, chunks: Chunks = chunksOf(bytes)) =>
    store.write(digest, chunks, never);
  const isStored = ({ digest, bytes }: Blob) =>
    Buffer.from(bytes).equals(cas.plain.blobs.get(digest.key) ?? Buffer.of());
  return { ...cas, store, write, isStored };
}

const called = (calls: readonly string[], what: string) =>
  calls.filter((call) => call.startsWith(what)).length;

test('CDC-24: a large blob is sent in chunks, then the server puts them together', async (t) => {
  const { write, calls, isStored } = await rig(t);
  await write(large);
  assert.ok(isStored(large));
  assert.match(calls.at(-1) ?? '', /^splice \d\d, function 1$/);
  assert.match(calls[0] ?? '', /^find \d\d$/);
});

test('of a blob that changed a little, the chunks that changed are sent', async (t) => {
  const { write, isStored, plain } = await rig(t);
  await write(large);
  const before = new Set(plain.blobs.keys());
  await write(changed);
  assert.ok(isStored(changed));
  const added = [...plain.blobs].filter(([key]) => !before.has(key) && key !== changed.digest.key);
  const addedBytes = added.reduce((sum, [, bytes]) => sum + bytes.length, 0);
  assert.ok(addedBytes > 0 && addedBytes < 0.3 * noise.length, `${addedBytes} bytes`);
});

for (const [what, announced, wanted] of [
  ['splicing is not announced', { ...all, spliceBlobSupport: false }, 'uploads'],
  ['no function is announced', { spliceBlobSupport: true }, 'uploads'],
  ['it is not wanted', all, 'off'],
] as const) {
  test(`CLI-02: blobs go whole when ${what}`, async (t) => {
    const { write, calls, isStored } = await rig(t, { announced, wanted });
    await write(large);
    assert.ok(isStored(large));
    assert.equal(called(calls, 'splice'), 0);
    assert.equal(called(calls, 'find'), 0);
  });
}

test('CLI-02: the function that is announced cuts', async (t) => {
  const { write, calls, isStored } = await rig(t, {
    announced: { spliceBlobSupport: true, repMaxCdcParams },
  });
  await write(large);
  assert.ok(isStored(large));
  assert.match(calls.at(-1) ?? '', /^splice \d\d, function 2$/);
});

for (const [what, announced] of [
  [
    'an average that is no power of two',
    { fastCdc2020Params: { avgChunkSizeBytes: 3000, seed: 0 } },
  ],
  ['an average below 1 KiB', { fastCdc2020Params: { avgChunkSizeBytes: 512, seed: 0 } }],
  ['an average of 2 MiB', { fastCdc2020Params: { avgChunkSizeBytes: 2 ** 21, seed: 0 } }],
  ['an average of 0', { fastCdc2020Params: { avgChunkSizeBytes: 0, seed: 0 } }],
  ['a least size of 0', { repMaxCdcParams: { minChunkSizeBytes: 0, horizonSizeBytes: 0 } }],
  [
    'a horizon of 9 MiB',
    { repMaxCdcParams: { minChunkSizeBytes: 2 ** 16, horizonSizeBytes: 9 * 2 ** 20 } },
  ],
] as const) {
  test(`CDC-34: a function with ${what} is not used`, async (t) => {
    const { write, calls } = await rig(t, { announced: { spliceBlobSupport: true, ...announced } });
    await write(large);
    assert.equal(called(calls, 'splice'), 0);
  });
}

test('CDC-34: another function is used in its place', async (t) => {
  const { write, calls } = await rig(t, {
    announced: {
      spliceBlobSupport: true,
      fastCdc2020Params: { avgChunkSizeBytes: 3000, seed: 0 },
      repMaxCdcParams,
    },
  });
  await write(large);
  assert.match(calls.at(-1) ?? '', /function 2$/);
});

test('CDC-33: a blob of four times the average goes whole, one of a byte more does not', async (t) => {
  const { write, calls } = await rig(t);
  await write(blobOf(noise.subarray(0, 4 * avgBytes)));
  assert.equal(called(calls, 'splice'), 0);
  await write(blobOf(noise.subarray(0, 4 * avgBytes + 1)));
  assert.equal(called(calls, 'splice'), 1);
});

test('what travels in batches is not cut, however small the chunks would be', async (t) => {
  const { write, calls } = await rig(t, {
    announced: { spliceBlobSupport: true, fastCdc2020Params: { avgChunkSizeBytes: KIB, seed: 0 } },
  });
  await write(blobOf(noise.subarray(0, 256 * KIB)));
  assert.deepEqual(calls, ['batch update 1']);
});

test('many large blobs at once are all stored', async (t) => {
  const { write, isStored, calls } = await rig(t);
  const blobs = Array.from({ length: 12 }, (_, n) => blobOf(noise.subarray(n, 1_000_000 + n)));
  await Promise.all(blobs.map((blob) => write(blob)));
  assert.ok(blobs.every(isStored));
  assert.equal(called(calls, 'splice'), 12);
});

test('CDC-01: downloads are whole, so SplitBlob is called nowhere', async (t) => {
  for (const splitBlobSupport of [true, false]) {
    const { write, calls, store } = await rig(t, {
      announced: { ...all, splitBlobSupport },
    });
    await write(large);
    await collect(store.read(large.digest, 0, never));
    assert.equal(called(calls, 'split'), 0);
  }
});

for (const name of ['UNIMPLEMENTED', 'RESOURCE_EXHAUSTED', 'DEADLINE_EXCEEDED'] as const) {
  test(`a blob goes whole after all when SpliceBlob answers ${name}`, async (t) => {
    const { write, isStored, calls } = await rig(t, { quirks: refuses(name) });
    await write(large);
    assert.ok(isStored(large));
    assert.equal(called(calls, 'splice'), 1);
  });
}

test('a blob that the server keeps in other chunks is stored', async (t) => {
  const { write, calls } = await rig(t, { quirks: refuses('ALREADY_EXISTS') });
  await write(large);
  assert.equal(called(calls, 'write'), 0);
});

test('a chunk that is evicted before the splice is sent again', async (t) => {
  let isFirst = true;
  const { write, isStored, plain, calls } = await rig(t, {
    quirks: {
      spliceError: () => {
        if (isFirst) plain.blobs.delete([...plain.blobs.keys()][0] ?? '');
        isFirst = false;
        return undefined;
      },
    },
  });
  await write(large);
  assert.ok(isStored(large));
  assert.equal(called(calls, 'splice'), 2);
});

test('a blob whose chunks are always evicted goes whole', async (t) => {
  const { write, isStored, calls } = await rig(t, { quirks: refuses('NOT_FOUND') });
  await write(large);
  assert.ok(isStored(large));
  assert.equal(called(calls, 'splice'), 2);
});

test('a source that can be read once only goes whole', async (t) => {
  const { write, isStored, calls } = await rig(t);
  await write(large, piecesOf(large.bytes));
  assert.ok(isStored(large));
  assert.equal(called(calls, 'splice'), 0);
});

for (const [flaw, bytes] of [
  ['other bytes', noise.map((byte, at) => (at === 2_000_000 ? byte ^ 1 : byte))],
  ['too few bytes', noise.subarray(1)],
  ['too many bytes', Buffer.concat([noise, noise.subarray(0, 1)])],
] as const) {
  test(`DIG-20: a chunked write with ${flaw} does not store the blob`, async (t) => {
    const { write, plain } = await rig(t);
    await assert.rejects(write(large, chunksOf(bytes)), { code: Code.INVALID_ARGUMENT });
    assert.ok(!plain.blobs.has(large.digest.key));
  });
}
