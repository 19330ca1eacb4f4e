import assert from 'node:assert/strict';
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { collect } from '../../src/base/chunks.ts';
import { Code } from '../../src/base/status.ts';
import { type Blob, blobOf } from '../support/blob-of.ts';
import { filesIn, openFilesystemBlobs, writeAll } from '../support/filesystem-blobs.ts';
import { keepLines } from '../support/keep-lines.ts';
import { never } from '../support/never.ts';
import { tempDir } from '../support/temp-dir.ts';

const blob = blobOf(Buffer.alloc(2_500_000, 'some bytes'));

/** A store with the blob, whose file is then treated by `harm`. */
async function harmed(t: TestContext, harm: (file: string) => void) {
  const root = tempDir(t);
  const blobs = await openFilesystemBlobs(t, { root });
  const store = blobs.namespace('');
  await writeAll(store, [blob]);
  const file = path.join(root, filesIn(root)[0] ?? '');
  chmodSync(file, 0o644);
  harm(file);
  return { root, blobs, store };
}

function flipBit(at: number): (file: string) => void {
  return (file) => {
    const bytes = readFileSync(file);
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    writeFileSync(file, bytes);
  };
}

for (const [where, at] of [
  ['first', 0],
  ['middle', 1_250_000],
  ['last', 2_499_999],
] as const) {
  test(`CI-05, BS-19: a bit flipped in the ${where} byte fails the read, then the blob is missing`, async (t) => {
    const { root, blobs, store } = await harmed(t, flipBit(at));
    let sizeBytes = 0;
    await assert.rejects(
      async () => {
        for await (const chunk of store.read(blob.digest, 0, never)) sizeBytes += chunk.length;
      },
      { code: Code.INTERNAL, message: /damaged/ },
    );
    assert.ok(sizeBytes < blob.digest.sizeBytes, 'the last chunk is withheld');
    await isMissingAndComesBack(store, blob);
    assert.equal(blobs.stats().corruptBlobs, 1);
    assert.equal(filesIn(root).filter((file) => file.startsWith('quarantine/')).length, 1);
  });
}

for (const [fault, harm] of [
  ['deleted', (file) => rmSync(file)],
  ['one byte short', (file) => truncateSync(file, 2_499_999)],
  ['empty', (file) => truncateSync(file, 0)],
  ['one byte long', (file) => writeFileSync(file, 'x', { flag: 'a' })],
  [
    'a folder',
    (file) => {
      rmSync(file);
      mkdirSync(file);
    },
  ],
  [
    'a link to itself',
    (file) => {
      rmSync(file);
      symlinkSync(file, file);
    },
  ],
] as readonly (readonly [string, (file: string) => void])[]) {
  test(`CI-05, CI-21, CAS-02, CC-04: a blob whose file is ${fault} is listed missing`, async (t) => {
    const { blobs, store } = await harmed(t, harm);
    await isMissingAndComesBack(store, blob);
    assert.equal(blobs.stats().blobs, 1);
  });

  test(`CI-05, CI-21, CC-04: reading a blob whose file is ${fault} fails with NOT_FOUND`, async (t) => {
    const { store } = await harmed(t, harm);
    await assert.rejects(collect(store.read(blob.digest, 0, never)), { code: Code.NOT_FOUND });
    await isMissingAndComesBack(store, blob);
  });
}

test('CC-04: a small blob whose folder has become a file is missing', async (t) => {
  const root = tempDir(t);
  const store = (await openFilesystemBlobs(t, { root })).namespace('');
  const small = blobOf('small');
  await writeAll(store, [small]);
  const folder = path.dirname(path.join(root, filesIn(root)[0] ?? ''));
  rmSync(folder, { recursive: true });
  writeFileSync(folder, '');
  await assert.rejects(collect(store.read(small.digest, 0, never)), { code: Code.NOT_FOUND });
});

test('CAS-37: damage that is found before the first byte is given makes the blob NOT_FOUND', async (t) => {
  for (const sizeBytes of [1000, 200_000]) {
    const root = tempDir(t);
    const blobs = await openFilesystemBlobs(t, { root });
    const store = blobs.namespace('');
    const some = blobOf(Buffer.alloc(sizeBytes, 'x'));
    await writeAll(store, [some]);
    const file = path.join(root, filesIn(root)[0] ?? '');
    chmodSync(file, 0o644);
    flipBit(sizeBytes - 1)(file);
    await assert.rejects(collect(store.read(some.digest, 0, never)), {
      code: Code.NOT_FOUND,
      message: /damaged/,
    });
    await isMissingAndComesBack(store, some);
    assert.equal(blobs.stats().corruptBlobs, 1);
  }
});

test('a late reader of a damaged file does not put its replacement away', async (t) => {
  const { store } = await harmed(t, flipBit(2_499_999));
  const late = store.read(blob.digest, 0, never);
  await late[Symbol.asyncIterator]().next();
  await assert.rejects(collect(store.read(blob.digest, 0, never)), { code: Code.INTERNAL });
  await writeAll(store, [blob]);
  await assert.rejects(collect(late), { code: Code.INTERNAL });
  assert.deepEqual(await store.findMissing([blob.digest], never), []);
});

test('CI-05: a damaged blob that cannot be moved away is missing all the same, and comes back', async (t) => {
  const root = tempDir(t);
  const { log, lines } = keepLines();
  const blobs = await openFilesystemBlobs(t, { root }, undefined, log);
  const store = blobs.namespace('');
  await writeAll(store, [blob]);
  const file = path.join(root, filesIn(root)[0] ?? '');
  chmodSync(file, 0o644);
  truncateSync(file, 1);
  rmSync(path.join(root, 'quarantine'), { recursive: true });
  writeFileSync(path.join(root, 'quarantine'), '');
  await isMissingAndComesBack(store, blob);
  const told = lines.find(({ message }) => String(message).includes('damaged'));
  assert.equal(told?.['path'], file);
  assert.match(String(told?.['moveError']), /ENOTDIR/);
  assert.equal(blobs.stats().corruptBlobs, 1);
});

test('keeps no more than a few damaged blobs', async (t) => {
  const root = tempDir(t);
  const store = (await openFilesystemBlobs(t, { root })).namespace('');
  for (let n = 0; n < 20; n++) {
    const small = blobOf(`small ${n}`);
    await writeAll(store, [small]);
    const [file = ''] = filesIn(root);
    chmodSync(path.join(root, file), 0o644);
    truncateSync(path.join(root, file), 1);
    assert.deepEqual(await store.findMissing([small.digest], never), [small.digest]);
  }
  assert.equal(filesIn(root).length, 16);
});

async function isMissingAndComesBack(
  store: Parameters<typeof writeAll>[0],
  { digest, bytes }: Blob,
): Promise<void> {
  assert.deepEqual(await store.findMissing([digest], never), [digest]);
  await assert.rejects(collect(store.read(digest, 0, never)), { code: Code.NOT_FOUND });
  await writeAll(store, [{ digest, bytes }]);
  assert.deepEqual(await store.findMissing([digest], never), []);
  assert.ok(Buffer.from(bytes).equals(await collect(store.read(digest, 0, never))));
}
