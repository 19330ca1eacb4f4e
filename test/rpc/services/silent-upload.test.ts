import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import { chunksOf } from '../../../src/base/chunks.ts';
import { Code } from '../../../src/base/status.ts';
import { MemoryBlobs } from '../../../src/cas/memory-blobs.ts';
import { ResumableUploads } from '../../../src/cas/resumable-uploads.ts';
import { WriteRequest, WriteResponse } from '../../../src/proto/google/bytestream/bytestream.ts';
import { Instances } from '../../../src/rpc/instances.ts';
import { byteStream } from '../../../src/rpc/services/byte-stream.ts';
import { blobOf } from '../../support/blob-of.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { never } from '../../support/never.ts';
import { startServer } from '../../support/start-server.ts';
import { testInstance } from '../../support/test-instance.ts';

const path = '/google.bytestream.ByteStream/Write';
const minuteMs = 60_000;

/** A store with room for one blob of 900 bytes, and uploads to it. */
async function setUp(t: TestContext) {
  const clock = new FakeClock();
  const blobs = new MemoryBlobs({ sizeBytesMax: 1500 }).namespace('');
  const uploads = new ResumableUploads(blobs, clock);
  const instance = testInstance({ blobs, uploads });
  const { client } = await startServer(t, [byteStream(new Instances([instance]))]);
  const begin = (resourceName: string, data: Uint8Array) => {
    const { call, response } = client.clientStream(path, WriteRequest, WriteResponse);
    response.catch(() => {});
    call.write(WriteRequest.fromPartial({ resourceName, data }));
    return { call, response };
  };
  return { clock, blobs, uploads, begin };
}

test('BS-45: an upload that nothing comes on for ten minutes ends, and can be gone on with', async (t) => {
  const { clock, blobs, uploads, begin } = await setUp(t);
  const { digest, bytes } = blobOf('x'.repeat(900));
  const resourceName = `uploads/u/blobs/${digest}`;
  const { call, response } = begin(resourceName, bytes.subarray(0, 300));
  await committed(300);
  clock.advance(9 * minuteMs);
  call.write(WriteRequest.fromPartial({ writeOffset: 300, data: bytes.subarray(300, 600) }));
  await committed(600);
  // Nine minutes and a half of silence, though it is more than ten since the stream began.
  clock.advance(9.5 * minuteMs);
  const stillOpen = Symbol('still open');
  assert.equal(await Promise.race([response, nextTurn(stillOpen)]), stillOpen);
  clock.advance(minuteMs);
  await assert.rejects(response, { code: Code.DEADLINE_EXCEEDED });
  assert.equal((await uploads.status(resourceName, digest, never)).committedSize, 600);
  const again = await uploads.attach(resourceName, digest, 600, never);
  await again.push(bytes.subarray(600));
  await again.finish();
  again.detach();
  assert.deepEqual(await blobs.findMissing([digest], never), []);

  async function committed(size: number): Promise<void> {
    while ((await uploads.status(resourceName, digest, never)).committedSize < size) {
      await nextTurn();
    }
    // The server waits for the next message by then.
    for (let i = 0; i < 10; i++) await nextTurn();
  }
});

test('BS-48: a compressed upload that falls silent gives back the room that it holds', async (t) => {
  const { clock, blobs, begin } = await setUp(t);
  const silent = blobOf('y'.repeat(900));
  const name = `uploads/u/compressed-blobs/zstd/${silent.digest}`;
  const { response } = begin(name, zstdCompressSync(silent.bytes).subarray(0, 5));
  const other = blobOf('z'.repeat(900));
  const write = () => blobs.write(other.digest, chunksOf(other.bytes), never);
  await clock.asleep(1);
  await assert.rejects(write(), { code: Code.RESOURCE_EXHAUSTED });
  clock.advance(10 * minuteMs);
  await assert.rejects(response, { code: Code.DEADLINE_EXCEEDED });
  await write();
});

function nextTurn<T>(value?: T): Promise<T | undefined> {
  return new Promise((resolve) => setImmediate(resolve, value));
}
