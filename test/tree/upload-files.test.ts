import assert from 'node:assert/strict';
import { truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { type Chunks, chunksOf } from '../../src/base/chunks.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import type { Digest } from '../../src/digest/digest.ts';
import { digestOfFile, fileChunks } from '../../src/tree/file-chunks.ts';
import { uploadMissing } from '../../src/tree/upload-files.ts';
import { blobOf } from '../support/blob-of.ts';
import { PlainBlobStore } from '../support/memory-blob-store.ts';
import { never } from '../support/never.ts';
import { tempDir } from '../support/temp-dir.ts';

const sourceOf = (content: string) => {
  const { bytes, digest } = blobOf(content);
  return { digest, open: () => chunksOf(bytes) };
};

class WatchedBlobStore extends PlainBlobStore {
  writing = 0;
  writingMost = 0;
  written: string[] = [];

  override async write(digest: Digest, chunks: Chunks): Promise<void> {
    this.writingMost = Math.max(this.writingMost, ++this.writing);
    await super.write(digest, chunks);
    this.written.push(digest.hash);
    this.writing--;
  }
}

test('CLI-04, WRK-11: only what the store lacks is sent, each blob once, and no empty one', async () => {
  const store = new WatchedBlobStore();
  const here = sourceOf('here');
  await store.write(here.digest, here.open());
  store.written = [];
  const sources = [here, sourceOf('new'), sourceOf('new'), sourceOf(''), sourceOf('newer')];
  const seen: [blobs: number, bytes: number][] = [];
  const progress = await uploadMissing(store, sources, never, ({ sentBlobs, sentBytes }) =>
    seen.push([sentBlobs, sentBytes]),
  );
  assert.deepEqual(progress, { blobs: 3, bytes: 12, sentBlobs: 2, sentBytes: 8 });
  assert.deepEqual(
    store.written.toSorted(),
    [blobOf('new').digest.hash, blobOf('newer').digest.hash].toSorted(),
  );
  assert.deepEqual(seen.at(-1), [2, 8]);
  assert.ok(seen[0]?.[0] === 0 && seen[0][1] > 0, 'a blob counts while it goes');
});

test('many small blobs are sent at once, so that they can share messages', async () => {
  const store = new WatchedBlobStore();
  await uploadMissing(
    store,
    Array.from({ length: 1000 }, (_, n) => sourceOf(`${n}`)),
    never,
  );
  assert.equal(store.blobs.size, 1000);
  assert.equal(store.writingMost, 256);
});

test('an upload stops at the first blob that cannot be sent', async () => {
  const store = new WatchedBlobStore();
  const sources = Array.from({ length: 1000 }, (_, n) => sourceOf(`${n}`));
  const broken = { digest: blobOf('broken').digest, open: () => chunksOf(Buffer.from('other')) };
  await assert.rejects(uploadMissing(store, [broken, ...sources], never), /have the digest/);
  assert.ok(store.blobs.size < 600);
  await assert.rejects(uploadMissing(store, sources, AbortSignal.abort()), { name: 'AbortError' });
});

for (const [what, change] of [
  ['grew', (file: string) => writeFileSync(file, 'x', { flag: 'a' })],
  ['shrank', (file: string) => truncateSync(file, 3)],
  ['changed', (file: string) => writeFileSync(file, 'what will be')],
] as const) {
  test(`CI-18: a file that ${what} since it was hashed is stored under no digest`, async (t) => {
    const file = path.join(tempDir(t), 'output');
    writeFileSync(file, 'what was hit');
    const digest = await digestOfFile(file, sha256, never);
    change(file);
    const store = new PlainBlobStore();
    const source = { digest, open: () => fileChunks(file) };
    await assert.rejects(uploadMissing(store, [source], never), { name: 'StatusError' });
    assert.equal(store.blobs.size, 0);
  });
}
