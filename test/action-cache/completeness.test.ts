import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import type { ActionCache } from '../../src/action-cache/action-cache.ts';
import { withCompleteness } from '../../src/action-cache/completeness.ts';
import { KnownTrees } from '../../src/action-cache/known-trees.ts';
import { MemoryActionCache } from '../../src/action-cache/memory-action-cache.ts';
import { Code } from '../../src/base/status.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import type { Digest } from '../../src/digest/digest.ts';
import {
  ActionResult,
  type DeepPartial,
  Directory,
  Tree,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { PreconditionFailure } from '../../src/proto/google/rpc/error_details.ts';
import { defaultTreeLimits } from '../../src/tree/walk-directories.ts';
import { actionCacheContract } from '../contract/action-cache.ts';
import { blobOf } from '../support/blob-of.ts';
import { PlainBlobStore } from '../support/memory-blob-store.ts';
import { never } from '../support/never.ts';
import { putDirectory } from '../support/put-directory.ts';

const action = blobOf('action').digest;

/** Remembers what it was asked about. */
class AskedBlobStore extends PlainBlobStore {
  readonly asked = new Set<string>();
  calls = 0;

  override async findMissing(digests: readonly Digest[]): Promise<Digest[]> {
    this.calls++;
    for (const { key } of digests) this.asked.add(key);
    return super.findMissing(digests);
  }
}

let blobs = new AskedBlobStore();
let base: ActionCache;
let cache: ActionCache;

beforeEach(() => {
  blobs = new AskedBlobStore();
  base = new MemoryActionCache({ maxSizeBytes: 1_000_000 }).namespace('');
  cache = withCompleteness(base, blobs, {
    treeLimits: { ...defaultTreeLimits, bytesMax: 10_000 },
    knownTrees: new KnownTrees(1_000_000),
  });
});

const store = (result: DeepPartial<ActionResult>) =>
  base.update(action, ActionResult.fromPartial(result), never);
const isHit = async () => (await cache.find(action, never)) !== undefined;
const put = (text: string) => blobs.put(text, sha256);
const encodedTree = (tree: DeepPartial<Tree>) => Tree.encode(Tree.fromPartial(tree)).finish();
const digestOfDirectory = (directory: DeepPartial<Directory>) =>
  blobOf(Directory.encode(Directory.fromPartial(directory)).finish()).digest;

/** A result with every kind of reference; all it reaches. */
async function putEverything() {
  const [file, stdout, stderr, deep] = [
    await put('file'),
    await put('stdout'),
    await put('stderr'),
    await put('deep in a tree'),
  ];
  const child = { files: [{ name: 'deep', digest: deep.toMessage() }] };
  const root = { directories: [{ name: 'd', digest: digestOfDirectory(child).toMessage() }] };
  const tree = await blobs.put(encodedTree({ root, children: [child] }), sha256);
  const childDirectory = await putDirectory(blobs, child);
  const rootDirectory = await putDirectory(blobs, root);
  await store({
    outputFiles: [{ path: 'file', digest: file.toMessage() }],
    outputDirectories: [
      {
        path: 'dir',
        treeDigest: tree.toMessage(),
        rootDirectoryDigest: rootDirectory.toMessage(),
      },
    ],
    stdoutDigest: stdout.toMessage(),
    stderrDigest: stderr.toMessage(),
  });
  return { file, stdout, stderr, tree, deep, rootDirectory, childDirectory };
}

actionCacheContract('withCompleteness', async () =>
  withCompleteness(new MemoryActionCache({ maxSizeBytes: 1_000_000 }).namespace(''), blobs, {
    treeLimits: defaultTreeLimits,
    knownTrees: new KnownTrees(0),
  }),
);

describe('AC-02: a result is found only while every blob it reaches is stored', () => {
  it('with all of them it is, and AC-03: each counts as used', async () => {
    const everything = await putEverything();
    assert.ok(await isHit());
    for (const [name, { key }] of Object.entries(everything)) {
      assert.ok(blobs.asked.has(key), `${name} was not asked for`);
    }
  });

  it('RAC-04: 10,000 outputs are asked for in ten questions at most', async () => {
    const digests = await Promise.all(Array.from({ length: 10_000 }, (_, n) => put(`output ${n}`)));
    const roomy = new MemoryActionCache({ maxSizeBytes: 10_000_000 }).namespace('');
    const outputFiles = digests.map((digest, n) => ({
      path: `f${n}`,
      digest: digest.toMessage(),
    }));
    await roomy.update(action, ActionResult.fromPartial({ outputFiles }), never);
    const options = { treeLimits: defaultTreeLimits, knownTrees: new KnownTrees(0) };
    assert.ok(await withCompleteness(roomy, blobs, options).find(action, never));
    assert.ok(blobs.calls <= 10, `${blobs.calls} questions`);
    assert.equal(blobs.asked.size, 10_000);
  });

  for (const name of [
    'file',
    'stdout',
    'stderr',
    'tree',
    'deep',
    'rootDirectory',
    'childDirectory',
  ] as const) {
    it(`RAC-01, RAC-03: without ${name} it is not, also if it was a moment ago`, async () => {
      const everything = await putEverything();
      assert.ok(await isHit());
      blobs.blobs.delete(everything[name].key);
      assert.equal(await isHit(), false);
    });
  }

  it('DIG-11: the empty blob needs no upload', async () => {
    await store({ stdoutDigest: blobOf('').digest.toMessage() });
    assert.ok(await isHit());
  });

  it('DIR-20: a spare child with missing files does no harm', async () => {
    const spare = { files: [{ name: 'f', digest: blobOf('not stored').digest.toMessage() }] };
    const tree = await blobs.put(encodedTree({ root: {}, children: [spare, spare] }), sha256);
    await store({ outputDirectories: [{ path: 'd', treeDigest: tree.toMessage() }] });
    assert.ok(await isHit());
  });
});

describe('AC-02: a stored result that cannot be trusted is a miss', () => {
  const dangling = { directories: [{ name: 'd', digest: blobOf('nowhere').digest.toMessage() }] };
  const large = { symlinks: [{ name: 'l', target: 't'.repeat(20_000) }] };
  for (const [what, bytes] of [
    ['is no Tree', Buffer.from('hello, world')],
    ['has no root', Buffer.from([0x12, 0x00])],
    ['lacks a directory', encodedTree({ root: dangling })],
    ['exceeds the limit', encodedTree({ root: large })],
  ] as const) {
    it(`RAC-03: when its tree ${what}`, async () => {
      const tree = await blobs.put(bytes, sha256);
      await store({ outputDirectories: [{ path: 'd', treeDigest: tree.toMessage() }] });
      assert.equal(await isHit(), false);
    });
  }

  const malformed: [string, DeepPartial<ActionResult>][] = [
    ['a digest of another function', { stdoutDigest: { hash: 'a'.repeat(40), sizeBytes: 1 } }],
    ['an output file without a digest', { outputFiles: [{ path: 'f' }] }],
    ['an output directory without a digest', { outputDirectories: [{ path: 'd' }] }],
  ];
  for (const [what, result] of malformed) {
    it(`when it has ${what}, and no update stores it`, async () => {
      await store(result);
      assert.equal(await isHit(), false);
      await assert.rejects(cache.update(action, ActionResult.fromPartial(result), never), {
        code: Code.INVALID_ARGUMENT,
      });
    });
  }
});

it('AC-14: an update is refused when a blob it names is absent, and tells which', async () => {
  const absent = blobOf('absent').digest;
  const result = ActionResult.fromPartial({ stdoutDigest: absent.toMessage() });
  await assert.rejects(cache.update(action, result, never), (error: unknown) => {
    const { code, details } = error as { code: Code; details: { value: Uint8Array }[] };
    assert.equal(code, Code.FAILED_PRECONDITION);
    const { violations } = PreconditionFailure.decode(details[0]?.value ?? Buffer.alloc(0));
    assert.deepEqual(
      violations.map(({ type, subject }) => [type, subject]),
      [['MISSING', `blobs/${absent}`]],
    );
    return true;
  });
  assert.equal(await base.find(action, never), undefined);
});

it('AC-26: a store that fails for now is no miss', async () => {
  await putEverything();
  blobs.findMissing = () => Promise.reject(new Error('the disk is gone'));
  await assert.rejects(isHit(), { message: 'the disk is gone' });
});
