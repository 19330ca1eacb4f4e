import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { chunksOf, collect } from '../../../src/base/chunks.ts';
import { Instances } from '../../../src/rpc/instances.ts';
import { byteStream } from '../../../src/rpc/services/byte-stream.ts';
import { capabilities } from '../../../src/rpc/services/capabilities.ts';
import { contentAddressableStorage } from '../../../src/rpc/services/content-addressable-storage.ts';
import {
  uploadChunkingOf,
  type WantedChunking,
} from '../../../src/rpc/stubs/announced-chunking.ts';
import {
  blobLimitsOf,
  fetchCapabilities,
  transferCodecsOf,
  type WantedCompression,
} from '../../../src/rpc/stubs/remote-capabilities.ts';
import { remoteBlobStore } from '../../../src/rpc/stubs/remote-blob-store.ts';
import { blobStoreContract } from '../../contract/blob-store.ts';
import { blobOf } from '../../support/blob-of.ts';
import { never } from '../../support/never.ts';
import { hanging } from '../../support/sources.ts';
import { startServer } from '../../support/start-server.ts';
import { testInstance } from '../../support/test-instance.ts';
import { connectTo } from './fake-server.ts';

/** The blobs of an instance of our own server, as a client finds them. */
async function connect(
  t: TestContext,
  compression: WantedCompression = 'off',
  chunking: WantedChunking = 'off',
) {
  const instance = testInstance({ name: 'main' });
  const instances = new Instances([instance]);
  const services = [contentAddressableStorage, byteStream].flatMap((of) => of(instances));
  const { listener } = await startServer(t, [capabilities(instances, services), services]);
  const channel = connectTo(t, listener.address);
  const announced = await fetchCapabilities(channel, 'main', never);
  const limits = blobLimitsOf(announced);
  const codecs = transferCodecsOf(announced, compression);
  let uploads = 0;
  const uploadChunking = uploadChunkingOf(announced, chunking);
  const blobs = { channel, instanceName: 'main', limits, codecs, uploadChunking };
  return remoteBlobStore(blobs, () => `upload-${uploads++}`);
}

// A small blob is sent once it is whole, so a source that hangs keeps it from being sent.
for (const [compression, chunking] of [
  ['off', 'off'],
  ['zstd', 'off'],
  ['zstd', 'uploads'],
] as const) {
  blobStoreContract(
    `RemoteBlobStore at our own server, compression ${compression}, chunking ${chunking},`,
    (t) => connect(t, compression, chunking),
    { endsEarly: false },
  );
}

test('BS-39: a large write ends early when the blob is there already', async (t) => {
  const store = await connect(t);
  const { digest, bytes } = blobOf(Buffer.alloc(3 * 2 ** 20, 'x'));
  await store.write(digest, chunksOf(bytes), never);
  async function* half() {
    yield bytes.subarray(0, 2 * 2 ** 20);
    yield* hanging();
  }
  await store.write(digest, half(), never);
  assert.deepEqual(await store.findMissing([digest], never), []);
});

test('what compresses well goes both ways in zstd, and comes back whole', async (t) => {
  const store = await connect(t, 'zstd');
  for (const sizeBytes of [0, 1, 1023, 1024, 200_000, 300_000, 3_000_000]) {
    const { digest, bytes } = blobOf(Buffer.alloc(sizeBytes, 'some text that repeats itself, '));
    await store.write(digest, chunksOf(bytes), never);
    assert.ok(Buffer.from(bytes).equals(await collect(store.read(digest, 0, never))));
    assert.ok(
      Buffer.from(bytes)
        .subarray(sizeBytes >> 1)
        .equals(await collect(store.read(digest, sizeBytes >> 1, never))),
    );
  }
});
