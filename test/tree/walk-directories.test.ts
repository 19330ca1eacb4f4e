import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import type { Digest } from '../../src/digest/digest.ts';
import { DirectoryCache } from '../../src/tree/directory-cache.ts';
import { defaultTreeLimits, readTree, walkDirectories } from '../../src/tree/walk-directories.ts';
import { blobOf } from '../support/blob-of.ts';
import { PlainBlobStore } from '../support/memory-blob-store.ts';
import { never } from '../support/never.ts';
import { putDiamond, putDirectory } from '../support/put-directory.ts';

const limits = defaultTreeLimits;

/** Counts what is read. */
class CountingBlobStore extends PlainBlobStore {
  reads = 0;

  override read(digest: Digest, offset: number) {
    this.reads++;
    return super.read(digest, offset);
  }
}

async function listed(root: Digest, blobs: PlainBlobStore): Promise<Digest[]> {
  const digests: Digest[] = [];
  for await (const { digest } of readTree(root, blobs, limits, never)) digests.push(digest);
  return digests;
}

/** root { kept { file }, lost { below } }, where `lost` is not stored. */
async function putTreeWithHole(blobs: PlainBlobStore) {
  const below = await putDirectory(blobs, { symlinks: [{ name: 'l', target: 't' }] });
  const kept = await putDirectory(blobs, {
    files: [{ name: 'file', digest: blobOf('file').digest.toMessage() }],
  });
  const lost = await putDirectory(blobs, {
    directories: [{ name: 'below', digest: below.toMessage() }],
  });
  const root = await putDirectory(blobs, {
    directories: [
      { name: 'kept', digest: kept.toMessage() },
      { name: 'lost', digest: lost.toMessage() },
    ],
  });
  blobs.blobs.delete(lost.key);
  return { root, kept, lost };
}

async function putChain(blobs: PlainBlobStore, depth: number): Promise<Digest> {
  let below = await putDirectory(blobs, {});
  for (let level = 0; level < depth; level++) {
    below = await putDirectory(blobs, { directories: [{ name: 'd', digest: below.toMessage() }] });
  }
  return below;
}

test('CAS-48, DIR-17: reads a shared directory once', async () => {
  const blobs = new CountingBlobStore();
  const root = await putDiamond(blobs, 10);
  const tree = await walkDirectories(root, blobs, { limits }, never);
  assert.equal(tree.directories.size, 11);
  assert.equal(tree.files.size, 1);
  assert.equal(blobs.reads, 11);
});

test('HI-05, DIR-16: refuses a few directories that stand for 2^20 files', async () => {
  const blobs = new PlainBlobStore();
  const root = await putDiamond(blobs, 20);
  await assert.rejects(walkDirectories(root, blobs, { limits }, never), {
    code: Code.INVALID_ARGUMENT,
  });
  assert.equal((await listed(await putDiamond(blobs, 30), blobs)).length, 31);
});

test('HI-05, DIR-16: refuses a tree that is too deep, even where a short way leads to the deep part', async () => {
  const blobs = new PlainBlobStore();
  const options = { limits: { ...limits, depthMax: 5 } };
  await walkDirectories(await putChain(blobs, 5), blobs, options, never);
  await assert.rejects(walkDirectories(await putChain(blobs, 6), blobs, options, never), {
    code: Code.INVALID_ARGUMENT,
  });
  const four = await putChain(blobs, 4);
  const five = await putChain(blobs, 5);
  const root = await putDirectory(blobs, {
    directories: [
      { name: 'long', digest: five.toMessage() },
      { name: 'short', digest: four.toMessage() },
    ],
  });
  await assert.rejects(walkDirectories(root, blobs, options, never), {
    code: Code.INVALID_ARGUMENT,
  });
});

test('HI-01, ACT-29: refuses names and paths that no file system takes', async () => {
  const blobs = new PlainBlobStore();
  const linkNamed = (name: string) => putDirectory(blobs, { symlinks: [{ name, target: 't' }] });
  await walkDirectories(await linkNamed('é'.repeat(127)), blobs, { limits }, never);
  const refused = { code: Code.INVALID_ARGUMENT };
  const longName = await linkNamed('é'.repeat(128));
  await assert.rejects(walkDirectories(longName, blobs, { limits }, never), refused);
  const options = { limits: { ...limits, pathBytesMax: 9 } };
  await walkDirectories(await putChain(blobs, 5), blobs, options, never);
  await assert.rejects(walkDirectories(await putChain(blobs, 6), blobs, options, never), refused);
});

test('HI-05, DIR-16: refuses more bytes of directories than the limit before it reads them', async () => {
  const blobs = new CountingBlobStore();
  const root = await putChain(blobs, 3);
  const options = { limits: { ...limits, bytesMax: 1 } };
  await assert.rejects(walkDirectories(root, blobs, options, never), {
    code: Code.INVALID_ARGUMENT,
  });
  assert.equal(blobs.reads, 0);
});

test('EXE-53: a walk tells which directories are missing and goes on', async () => {
  const blobs = new PlainBlobStore();
  const { root, lost } = await putTreeWithHole(blobs);
  const tree = await walkDirectories(root, blobs, { limits }, never);
  assert.deepEqual(tree.missing, [lost]);
  assert.deepEqual([...tree.files.keys()], [blobOf('file').digest.key]);
  const none = await walkDirectories(blobOf('no such').digest, blobs, { limits }, never);
  assert.deepEqual(none.missing, [blobOf('no such').digest]);
});

test('a walk with a cache reads each directory once in many walks', async () => {
  const blobs = new CountingBlobStore();
  const root = await putDiamond(blobs, 5);
  const cache = new DirectoryCache(100_000);
  const first = await walkDirectories(root, blobs, { limits, cache }, never);
  const second = await walkDirectories(root, blobs, { limits, cache }, never);
  assert.deepEqual(first, second);
  assert.equal(blobs.reads, 6);
});

test('a walk passes over what is known, and still knows how large all of it is', async () => {
  const blobs = new CountingBlobStore();
  const below = await putDiamond(blobs, 17);
  const root = await putDirectory(blobs, {
    directories: ['a', 'b'].map((name) => ({ name, digest: below.toMessage() })),
  });
  const { extents } = await walkDirectories(below, blobs, { limits }, never);
  blobs.reads = 0;
  const findKnown = (digest: Digest) => extents.get(digest.key);
  const walked = await walkDirectories(root, blobs, { limits, findKnown }, never);
  assert.equal(blobs.reads, 1);
  assert.deepEqual(walked.missing, []);
  assert.equal(walked.directories.size, 1);
  assert.equal(walked.extents.get(root.key)?.depth, 18);
  const twice = await putDirectory(blobs, {
    directories: ['a', 'b'].map((name) => ({ name, digest: root.toMessage() })),
  });
  await assert.rejects(walkDirectories(twice, blobs, { limits, findKnown }, never), {
    code: Code.INVALID_ARGUMENT,
  });
});

test('the cache forgets what was used longest ago', async () => {
  const blobs = new CountingBlobStore();
  const cache = new DirectoryCache(1500);
  const [a, b, c] = [await putChain(blobs, 0), await putChain(blobs, 1), await putChain(blobs, 2)];
  const parsed = {
    files: [],
    directories: [],
    symlinks: [],
    properties: undefined,
    memoryBytes: 700,
  };
  cache.add(a, parsed);
  cache.add(b, parsed);
  assert.ok(cache.find(a));
  cache.add(c, parsed);
  assert.equal(cache.find(b), undefined);
  const tooLarge = blobOf('x'.repeat(1000)).digest;
  cache.add(tooLarge, { ...parsed, memoryBytes: 1501 });
  assert.equal(cache.find(tooLarge), undefined);
});

test('CAS-40, CAS-45: lists the root first and always in the same order', async () => {
  const blobs = new PlainBlobStore();
  const root = await putDiamond(blobs, 4);
  const first = await listed(root, blobs);
  assert.ok(first[0]?.equals(root));
  assert.deepEqual(await listed(root, blobs), first);
});

test('CAS-41: a listing without a root is NOT_FOUND', async () => {
  await assert.rejects(listed(blobOf('no such').digest, new PlainBlobStore()), {
    code: Code.NOT_FOUND,
  });
});

test('CAS-42: a listing leaves out a missing directory and what is below it', async () => {
  const blobs = new PlainBlobStore();
  const { root, kept } = await putTreeWithHole(blobs);
  assert.deepEqual(await listed(root, blobs), [root, kept]);
});

test('CAS-47: the empty directory needs no upload', async () => {
  const [only, ...others] = await listed(blobOf('').digest, new PlainBlobStore());
  assert.ok(only?.equals(blobOf('').digest));
  assert.equal(others.length, 0);
});

test('CAS-49: a root that is no Directory is INVALID_ARGUMENT', async () => {
  const blobs = new PlainBlobStore();
  const text = await blobs.put('this is a text', sha256);
  await assert.rejects(listed(text, blobs), { code: Code.INVALID_ARGUMENT });
});

test('a walk ends with its signal', async () => {
  const blobs = new PlainBlobStore();
  const root = await putDiamond(blobs, 2);
  const gone = AbortSignal.abort();
  await assert.rejects(walkDirectories(root, blobs, { limits }, gone), { name: 'AbortError' });
});
