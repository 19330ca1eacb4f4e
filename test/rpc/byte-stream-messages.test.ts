import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ReadResponse, WriteRequest } from '../../src/proto/google/bytestream/bytestream.ts';
import { readResponseType, writeRequestType } from '../../src/rpc/byte-stream-messages.ts';

for (const sizeBytes of [0, 1, 127, 128, 70_000]) {
  test(`messages with ${sizeBytes} bytes of data are encoded as generated code does`, () => {
    const data = Buffer.alloc(sizeBytes, 'x');
    const request = { resourceName: 'uploads/é', writeOffset: 2 ** 40, finishWrite: true, data };
    const bytes = writeRequestType.encode(request).finish();
    assert.ok(Buffer.from(WriteRequest.encode(request).finish()).equals(bytes));
    assert.deepEqual(writeRequestType.decode(bytes), WriteRequest.decode(bytes));
    const response = readResponseType.encode({ data }).finish();
    assert.ok(Buffer.from(ReadResponse.encode({ data }).finish()).equals(response));
    assert.deepEqual(readResponseType.decode(response), ReadResponse.decode(response));
  });
}
