import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WriteRequest, WriteResponse } from '../../../src/proto/google/bytestream/bytestream.ts';
import { Instances } from '../../../src/rpc/instances.ts';
import { byteStream } from '../../../src/rpc/services/byte-stream.ts';
import { blobOf } from '../../support/blob-of.ts';
import { never } from '../../support/never.ts';
import { startServer } from '../../support/start-server.ts';
import { testInstance } from '../../support/test-instance.ts';

const text = 'the quick brown fox jumps over the lazy dog. '.repeat(1000);

test('BS-07: one id, of any form, serves many blobs at once, and many ids serve one blob', async (t) => {
  const instance = testInstance();
  const { client } = await startServer(t, [byteStream(new Instances([instance]))]);
  const upload = async (id: string, { digest, bytes }: ReturnType<typeof blobOf>) => {
    const path = '/google.bytestream.ByteStream/Write';
    const { call, response } = client.clientStream(path, WriteRequest, WriteResponse);
    const resourceName = `uploads/${id}/blobs/${digest}`;
    for (let at = 0; at < bytes.length; at += 10_000) {
      const data = bytes.subarray(at, at + 10_000);
      const finishWrite = at + data.length === bytes.length;
      const request = { resourceName, writeOffset: at, data, finishWrite };
      call.write(WriteRequest.fromPartial(request));
    }
    call.end();
    return (await response).committedSize;
  };
  const blobs = Array.from({ length: 10 }, (_, i) => blobOf(`${i} ${text}`));
  const sizes = await Promise.all(blobs.map((blob) => upload('no uuid', blob)));
  assert.deepEqual(new Set(sizes), new Set([text.length + 2]));
  const digests = blobs.map(({ digest }) => digest);
  assert.deepEqual(await instance.blobs.findMissing(digests, never), []);
  const one = blobOf(text);
  const ids = Array.from({ length: 10 }, (_, i) => `id-${i}`);
  const same = await Promise.all(ids.map((id) => upload(id, one)));
  assert.deepEqual(new Set(same), new Set([text.length]));
  assert.deepEqual(await instance.blobs.findMissing([one.digest], never), []);
});
