import assert from 'node:assert/strict';
import { test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import { chunksOf } from '../../../src/base/chunks.ts';
import {
  BatchUpdateBlobsRequest,
  Compressor_Value,
} from '../../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { batchUpdateBlobs } from '../../../src/rpc/services/batch-update-blobs.ts';
import { blobOf } from '../../support/blob-of.ts';
import { never } from '../../support/never.ts';
import { testInstance } from '../../support/test-instance.ts';

test('CAS-14: wrong bytes are refused for a blob that is there, too, and for the empty one', async () => {
  const instance = testInstance();
  const { digest: present, bytes } = blobOf('present');
  await instance.blobs.write(present, chunksOf(bytes), never);
  const [digest, nothing] = [present, blobOf('').digest].map((one) => one.toMessage());
  const compressor = Compressor_Value.ZSTD;
  const cases = [
    [{ digest, data: bytes }, 0],
    [{ digest, data: Buffer.from('pre5ent') }, 3],
    [{ digest, data: bytes.subarray(1) }, 3],
    [{ digest, data: Buffer.from('presents') }, 3],
    [{ digest, data: new Uint8Array() }, 3],
    [{ digest, data: zstdCompressSync(bytes), compressor }, 0],
    [{ digest, data: zstdCompressSync(Buffer.from('pre5ent')), compressor }, 3],
    [{ digest, data: Buffer.from('garbage'), compressor }, 3],
    [{ digest: nothing, data: new Uint8Array() }, 0],
    [{ digest: nothing, data: Buffer.from('x') }, 3],
    [{ digest: nothing, data: Buffer.from('garbage'), compressor }, 3],
  ] as const;
  const request = BatchUpdateBlobsRequest.fromPartial({ requests: cases.map(([one]) => one) });
  const { responses } = await batchUpdateBlobs(request, instance, never);
  assert.deepEqual(
    responses.map(({ status }) => status?.code),
    cases.map(([, code]) => code),
  );
});
