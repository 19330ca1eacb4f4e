import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code } from '../../../src/base/status.ts';
import { WriteRequest, WriteResponse } from '../../../src/proto/google/bytestream/bytestream.ts';
import { Instances } from '../../../src/rpc/instances.ts';
import { byteStream } from '../../../src/rpc/services/byte-stream.ts';
import { blobOf } from '../../support/blob-of.ts';
import { never } from '../../support/never.ts';
import { startServer } from '../../support/start-server.ts';
import { testInstance } from '../../support/test-instance.ts';

test('GEN-15: an upload whose deadline passes leaves nothing to be seen', async (t) => {
  const instance = testInstance();
  const { client } = await startServer(t, [byteStream(new Instances([instance]))]);
  const { digest, bytes } = blobOf('half of this comes');
  const path = '/google.bytestream.ByteStream/Write';
  const options = { deadlineMs: 50 };
  const { call, response } = client.clientStream(path, WriteRequest, WriteResponse, options);
  const resourceName = `uploads/u/blobs/${digest}`;
  call.write(WriteRequest.fromPartial({ resourceName, data: bytes.subarray(0, 9) }));
  await assert.rejects(response, { code: Code.DEADLINE_EXCEEDED });
  assert.deepEqual(await instance.blobs.findMissing([digest], never), [digest]);
});
