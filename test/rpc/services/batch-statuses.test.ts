import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code, StatusError } from '../../../src/base/status.ts';
import {
  BatchReadBlobsRequest,
  BatchReadBlobsResponse,
  BatchUpdateBlobsRequest,
  BatchUpdateBlobsResponse,
} from '../../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { batchReadBlobs } from '../../../src/rpc/services/batch-read-blobs.ts';
import { BatchStatuses } from '../../../src/rpc/services/batch-statuses.ts';
import { batchUpdateBlobs } from '../../../src/rpc/services/batch-update-blobs.ts';
import { RESPONSE_BYTES_MAX } from '../../../src/rpc/limits.ts';
import { blobOf } from '../../support/blob-of.ts';
import { never } from '../../support/never.ts';
import { testInstance } from '../../support/test-instance.ts';

const absent = Array.from({ length: 25_000 }, (_, n) => ({
  hash: n.toString(16).padStart(64, '0'),
  sizeBytes: 10,
}));

test('texts are told as long as they fit, codes always', () => {
  const statuses = new BatchStatuses(RESPONSE_BYTES_MAX - 10);
  const told = ['12345', '123456', ''].map((text) =>
    statuses.of(new StatusError(Code.NOT_FOUND, text)),
  );
  assert.deepEqual(
    told.map(({ message }) => message),
    ['12345', '', ''],
  );
  assert.ok(told.every(({ code }) => code === Code.NOT_FOUND));
});

test('GEN-09: 25,000 blobs that cannot be read are told in one message', async () => {
  const request = BatchReadBlobsRequest.fromPartial({ digests: absent });
  const response = await batchReadBlobs(request, testInstance(), never);
  assert.ok(response.responses.every(({ status }) => status?.code === Code.NOT_FOUND));
  assert.ok(response.responses[0]?.status?.message.includes('not in the store'));
  assert.ok(BatchReadBlobsResponse.encode(response).finish().length <= RESPONSE_BYTES_MAX);
});

test('GEN-09: 25,000 blobs that cannot be stored are told in one message', async () => {
  const requests = absent.map((digest) => ({ digest, data: Buffer.from('0123456789') }));
  const request = BatchUpdateBlobsRequest.fromPartial({ requests });
  const response = await batchUpdateBlobs(request, testInstance(), never);
  assert.ok(response.responses.every(({ status }) => status?.code === Code.INVALID_ARGUMENT));
  assert.ok(BatchUpdateBlobsResponse.encode(response).finish().length <= RESPONSE_BYTES_MAX);
});

test('CAS-11: digest and status are sent for every blob, also where all is well', async () => {
  const { digest, bytes } = blobOf('x');
  const requests = [{ digest: digest.toMessage(), data: bytes }];
  const request = BatchUpdateBlobsRequest.fromPartial({ requests });
  const response = await batchUpdateBlobs(request, testInstance(), never);
  assert.equal(response.responses[0]?.digest?.hash, digest.hash);
  const wire = Buffer.from(BatchUpdateBlobsResponse.encode(response).finish());
  assert.equal(wire.subarray(-2).toString('hex'), '1200', 'a status that is there, and empty');
});

test('ERR-05: the text of a mismatch names both digests', async () => {
  const [said, sent] = [blobOf('said'), blobOf('sent')];
  const requests = [{ digest: said.digest.toMessage(), data: sent.bytes }];
  const request = BatchUpdateBlobsRequest.fromPartial({ requests });
  const { responses } = await batchUpdateBlobs(request, testInstance(), never);
  const text = responses[0]?.status?.message ?? '';
  for (const { digest } of [said, sent]) assert.ok(text.includes(`${digest}`), text);
});
