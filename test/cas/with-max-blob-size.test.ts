import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chunksOf, collect } from '../../src/base/chunks.ts';
import { Code } from '../../src/base/status.ts';
import { MemoryBlobs } from '../../src/cas/memory-blobs.ts';
import { withMaxBlobSize } from '../../src/cas/with-max-blob-size.ts';
import { blobOf } from '../support/blob-of.ts';
import { never } from '../support/never.ts';
import { untouched } from '../support/sources.ts';

test('CAP-15: refuses a larger blob before its first byte, takes one of the limit', async () => {
  const store = withMaxBlobSize(new MemoryBlobs({ sizeBytesMax: 10_000 }).namespace(''), 5);
  await assert.rejects(store.write(blobOf('hello!').digest, untouched(), never), {
    code: Code.INVALID_ARGUMENT,
    message: /limit of 5 bytes/,
  });
  const limit = blobOf('hello');
  await store.write(limit.digest, chunksOf(limit.bytes), never);
});

test('CAP-15: still finds and reads a larger blob that is there', async () => {
  const base = new MemoryBlobs({ sizeBytesMax: 10_000 }).namespace('');
  const store = withMaxBlobSize(base, 5);
  const blob = blobOf('hello!');
  await base.write(blob.digest, chunksOf(blob.bytes), never);
  assert.deepEqual(await store.findMissing([blob.digest], never), []);
  assert.equal(String(Buffer.from(await collect(store.read(blob.digest, 0, never)))), 'hello!');
});
