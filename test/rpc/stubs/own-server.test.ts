import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { chunksOf } from '../../../src/base/chunks.ts';
import { Instances } from '../../../src/rpc/instances.ts';
import { byteStream } from '../../../src/rpc/services/byte-stream.ts';
import { capabilities } from '../../../src/rpc/services/capabilities.ts';
import { contentAddressableStorage } from '../../../src/rpc/services/content-addressable-storage.ts';
import { blobLimitsOf, fetchCapabilities } from '../../../src/rpc/stubs/remote-capabilities.ts';
import { remoteBlobStore } from '../../../src/rpc/stubs/remote-blob-store.ts';
import { blobStoreContract } from '../../contract/blob-store.ts';
import { blobOf } from '../../support/blob-of.ts';
import { never } from '../../support/never.ts';
import { hanging } from '../../support/sources.ts';
import { startServer } from '../../support/start-server.ts';
import { testInstance } from '../../support/test-instance.ts';
import { connectTo } from './fake-server.ts';

/** The blobs of an instance of our own server, as a client finds them. */
async function connect(t: TestContext) {
  const instance = testInstance({ name: 'main' });
  const instances = new Instances([instance]);
  const services = [capabilities, contentAddressableStorage, byteStream];
  const { listener } = await startServer(
    t,
    services.map((service) => service(instances)),
  );
  const channel = connectTo(t, listener.address);
  const limits = blobLimitsOf(await fetchCapabilities(channel, 'main', never));
  let uploads = 0;
  return remoteBlobStore({ channel, instanceName: 'main', limits }, () => `upload-${uploads++}`);
}

// A small blob is sent once it is whole, so a source that hangs keeps it from being sent.
blobStoreContract('RemoteBlobStore at our own server', connect, { endsEarly: false });

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
