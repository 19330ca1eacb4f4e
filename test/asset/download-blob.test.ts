import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { downloadBlob } from '../../src/asset/download-blob.ts';
import { DownloadRoom } from '../../src/asset/download-room.ts';
import { chunksOf } from '../../src/base/chunks.ts';
import { newId } from '../../src/base/id.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import { blobOf } from '../support/blob-of.ts';
import { PlainBlobStore } from '../support/memory-blob-store.ts';
import { never } from '../support/never.ts';
import { tempDir } from '../support/temp-dir.ts';

const wanted = { digestFunction: sha256, integrity: undefined };
const room = new DownloadRoom(1000);

test('an origin is asked only once there is a file for its answer', async (t) => {
  const folder = tempDir(t);
  const blobs = new PlainBlobStore();
  const { bytes, digest } = blobOf('what was fetched');
  let asked = 0;
  const fetch = async () => {
    asked += 1;
    return { chunks: chunksOf(bytes), sizeBytes: bytes.length };
  };
  const into = (place: string) =>
    downloadBlob(fetch, blobs, wanted, { folder: place, sizeBytesMax: 100, room, newId }, never);
  await assert.rejects(into(path.join(folder, 'missing')), { code: 'ENOENT' });
  assert.equal(asked, 0, 'its connection would stay open for nobody');
  assert.ok((await into(folder)).equals(digest));
  assert.ok(blobs.blobs.has(digest.key));
  assert.deepEqual(readdirSync(folder), []);
});
