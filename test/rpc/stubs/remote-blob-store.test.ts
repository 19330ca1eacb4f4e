import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chunksOf, collect } from '../../../src/base/chunks.ts';
import { Code, StatusError } from '../../../src/base/status.ts';
import { blake3, sha256 } from '../../../src/digest/digest-functions.ts';
import { Digest } from '../../../src/digest/digest.ts';
import type { Channel } from '../../../src/rpc/stubs/channel.ts';
import type { BlobLimits, TransferCodecs } from '../../../src/rpc/stubs/remote-capabilities.ts';
import { remoteBlobStore } from '../../../src/rpc/stubs/remote-blob-store.ts';
import { blobStoreContract } from '../../contract/blob-store.ts';
import { blobOf } from '../../support/blob-of.ts';
import { never } from '../../support/never.ts';
import { untouched } from '../../support/sources.ts';
import { fakeCas } from './fake-cas.ts';

const roomy: BlobLimits = { batchSizeBytesMax: 4_000_000, blobSizeBytesMax: Infinity };
const plainCodecs: TransferCodecs = { streams: undefined, batches: undefined };
const MIB = 2 ** 20;

function storeAt(channel: Channel, limits = roomy, codecs = plainCodecs) {
  const blobs = { channel, instanceName: 'main', limits, codecs, uploadChunking: undefined };
  return remoteBlobStore(blobs, () => 'upload-1');
}

function counted(sizeBytes: number) {
  return blobOf(Uint8Array.from({ length: sizeBytes }, (_, index) => index % 253));
}

// It learns that a blob is there already from the server, which it asks when it has a message to send.
blobStoreContract('RemoteBlobStore', async (t) => storeAt((await fakeCas(t)).channel), {
  endsEarly: false,
});

test('small reads of one turn share a call', async (t) => {
  const { channel, plain, calls } = await fakeCas(t);
  const digests = [];
  for (let n = 0; n < 50; n++) digests.push(await plain.put(`blob ${n}`, sha256));
  const store = storeAt(channel);
  const contents = await Promise.all(
    digests.map(async (digest) => String(await collect(store.read(digest, 0, never)))),
  );
  assert.deepEqual(contents.slice(-2), ['blob 48', 'blob 49']);
  assert.deepEqual(calls, ['batch read 50']);
});

test('small writes of one turn share a call, and an equal blob goes once', async (t) => {
  const { channel, plain, calls } = await fakeCas(t);
  const store = storeAt(channel);
  const blobs = Array.from({ length: 50 }, (_, n) => blobOf(`blob ${n % 40}`));
  await Promise.all(blobs.map(({ digest, bytes }) => store.write(digest, chunksOf(bytes), never)));
  assert.equal(plain.blobs.size, 40);
  assert.deepEqual(calls, ['batch update 40']);
});

test('CLI-03: no batch is larger than the server allows', async (t) => {
  const { channel, calls } = await fakeCas(t);
  const store = storeAt(channel, { ...roomy, batchSizeBytesMax: 10_000 });
  const blobs = Array.from({ length: 9 }, (_, n) => counted(3000 + n));
  await Promise.all(blobs.map(({ digest, bytes }) => store.write(digest, chunksOf(bytes), never)));
  assert.deepEqual(calls, ['batch update 3', 'batch update 3', 'batch update 3']);
  const single = counted(10_001);
  await store.write(single.digest, chunksOf(single.bytes), never);
  assert.deepEqual(calls.slice(3), ['write 10001 at 0', 'write 0 at 10001, finished']);
});

test('CLI-03: a blob that is larger than the server takes is not sent', async (t) => {
  const { channel, calls } = await fakeCas(t);
  const store = storeAt(channel, { ...roomy, blobSizeBytesMax: 100 });
  const { digest } = counted(101);
  await assert.rejects(store.write(digest, untouched(), never), { code: Code.INVALID_ARGUMENT });
  assert.deepEqual(calls, []);
});

test('CLI-04: the empty blob is never sent or asked for', async (t) => {
  const { channel, calls } = await fakeCas(t);
  const store = storeAt(channel);
  for (const digestFunction of [sha256, blake3]) {
    const empty = Digest.ofBytes(digestFunction, new Uint8Array());
    await store.write(empty, chunksOf(new Uint8Array()), never);
    assert.equal((await collect(store.read(empty, 0, never))).length, 0);
    assert.deepEqual(await store.findMissing([empty], never), []);
  }
  assert.deepEqual(calls, []);
});

test('GEN-08: thousands of digests are asked for in calls of at most 4 MiB', async (t) => {
  const { channel, calls } = await fakeCas(t);
  const digests = Array.from({ length: 60_000 }, (_, n) =>
    Digest.of(sha256, n.toString(16).padStart(64, '0'), 2 ** 40),
  );
  const missing = await storeAt(channel).findMissing(digests, never);
  assert.equal(missing.length, 60_000);
  assert.equal(calls.length, 2);
});

test('digests of several functions are asked for apart', async (t) => {
  const { channel, plain, calls } = await fakeCas(t);
  const bytes = Buffer.from('x');
  const stored = await plain.put('x', blake3);
  const absent = Digest.of(sha256, stored.hash, 1);
  const store = storeAt(channel);
  assert.deepEqual(await store.findMissing([absent, stored], never), [absent]);
  assert.deepEqual(calls, ['find 1', 'find 1']);
  const both = [stored, Digest.ofBytes(sha256, bytes)].map((digest) =>
    store.write(digest, chunksOf(bytes), never),
  );
  await Promise.all(both);
  assert.equal(plain.blobs.size, 2);
});

test('a large blob is written in messages of 1 MiB, and says where it goes (BS-09)', async (t) => {
  const { channel, plain, calls, routes } = await fakeCas(t);
  const blob = counted(2 * MIB + 5);
  async function* small() {
    for (let at = 0; at < blob.bytes.length; at += 300_000) {
      yield blob.bytes.subarray(at, at + 300_000);
    }
  }
  await storeAt(channel).write(blob.digest, small(), never);
  assert.equal(plain.blobs.size, 1);
  assert.deepEqual(calls, [
    `write ${MIB} at 0`,
    `write ${MIB} at ${MIB}`,
    `write 5 at ${2 * MIB}`,
    `write 0 at ${2 * MIB + 5}, finished`,
  ]);
  assert.deepEqual(routes, [`main/uploads/upload-1/blobs/${blob.digest}`]);
});

for (const earlyCommittedSize of [3 * MIB, -1, 7]) {
  test(`CLI-09: an early answer with ${earlyCommittedSize} committed is a success`, async (t) => {
    const { channel } = await fakeCas(t, { earlyCommittedSize });
    const { digest, bytes } = counted(3 * MIB);
    async function* slow() {
      yield bytes.subarray(0, 2 * MIB);
      await new Promise<never>(() => {});
    }
    await storeAt(channel).write(digest, slow(), never);
  });
}

test('CLI-08: a read that breaks goes on where it broke', async (t) => {
  const breaks = [300_000, 900_000];
  const { channel, plain, calls, routes } = await fakeCas(t, {
    beforeChunk: (offset) => {
      if (breaks[0] !== undefined && offset >= breaks[0]) {
        breaks.shift();
        throw new StatusError(Code.UNAVAILABLE, 'cut');
      }
    },
  });
  const blob = counted(1_500_000);
  await plain.write(blob.digest, chunksOf(blob.bytes));
  const bytes = await collect(storeAt(channel).read(blob.digest, 0, never));
  assert.ok(Buffer.from(blob.bytes).equals(bytes));
  assert.equal(calls.length, 3);
  assert.equal(calls[0], 'read from 0');
  assert.equal(routes[0], `main/blobs/${blob.digest}`);
});

test('BS-20: an error after the last byte is ignored', async (t) => {
  const blob = counted(700_000);
  const { channel, plain, calls } = await fakeCas(t, {
    beforeChunk: (offset) => {
      if (offset === blob.digest.sizeBytes) throw new StatusError(Code.INTERNAL, 'too late');
    },
  });
  await plain.write(blob.digest, chunksOf(blob.bytes));
  const bytes = await collect(storeAt(channel).read(blob.digest, 0, never)).catch(() => undefined);
  // grpc-js drops messages that a failing status overtakes: then the read is one that broke.
  if (bytes) assert.ok(Buffer.from(blob.bytes).equals(bytes));
  assert.equal(calls.length, 1);
});

test('a read that never gets further fails after some attempts', async (t) => {
  const { channel, plain, calls } = await fakeCas(t, {
    beforeChunk: () => {
      throw new StatusError(Code.UNAVAILABLE, 'cut');
    },
  });
  const blob = counted(1_000_000);
  await plain.write(blob.digest, chunksOf(blob.bytes));
  await assert.rejects(collect(storeAt(channel).read(blob.digest, 0, never)), {
    code: Code.UNAVAILABLE,
  });
  assert.equal(calls.length, 5);
});

test('BS-22: other bytes in a large read fail before its last chunk', async (t) => {
  const { channel, plain } = await fakeCas(t, { spoil: (data) => data.map((byte) => byte ^ 1) });
  const blob = counted(1_000_000);
  await plain.write(blob.digest, chunksOf(blob.bytes));
  let sizeBytes = 0;
  const reading = (async () => {
    for await (const chunk of storeAt(channel).read(blob.digest, 0, never)) {
      sizeBytes += chunk.length;
    }
  })();
  await assert.rejects(reading, { code: Code.DATA_LOSS, message: new RegExp(blob.digest.hash) });
  assert.ok(sizeBytes < blob.digest.sizeBytes);
});

test('CLI-07: other bytes in a small read are asked for again a few times', async (t) => {
  let spoiled = 2;
  const { channel, plain, calls } = await fakeCas(t, {
    spoil: (data) => (spoiled-- > 0 ? Buffer.from('other') : data),
  });
  const digest = await plain.put('hello', sha256);
  const store = storeAt(channel);
  assert.equal(String(await collect(store.read(digest, 0, never))), 'hello');
  assert.equal(calls.length, 3);
  spoiled = 1000;
  await assert.rejects(collect(store.read(digest, 0, never)), { code: Code.DATA_LOSS });
  assert.equal(calls.length, 8);
});

test('a batch is sent again when the server is unavailable for a moment', async (t) => {
  const errors = Array.from({ length: 2 }, () => new StatusError(Code.UNAVAILABLE, 'not now'));
  const { channel, plain } = await fakeCas(t, { batchError: () => errors.pop() });
  const { digest, bytes } = blobOf('hello');
  const store = storeAt(channel);
  await store.write(digest, chunksOf(bytes), never);
  assert.equal(plain.blobs.size, 1);
});
