import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chunksOf, collect } from '../../src/base/chunks.ts';
import { Code } from '../../src/base/status.ts';
import { MemoryBlobs } from '../../src/cas/memory-blobs.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import { Digest } from '../../src/digest/digest.ts';
import { blobOf } from '../support/blob-of.ts';
import { never } from '../support/never.ts';

test('a size of 0 with the hash of something else names no blob', async () => {
  const store = new MemoryBlobs({ sizeBytesMax: 10_000 }).namespace('');
  const digest = Digest.of(sha256, blobOf('something').digest.hash, 0);
  assert.deepEqual(await store.findMissing([digest], never), [digest]);
  await assert.rejects(collect(store.read(digest, 0, never)), { code: Code.NOT_FOUND });
  await assert.rejects(store.write(digest, chunksOf(new Uint8Array()), never), {
    code: Code.INVALID_ARGUMENT,
  });
});
