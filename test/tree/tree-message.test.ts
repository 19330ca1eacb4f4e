import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { Code } from '../../src/base/status.ts';
import {
  Directory,
  Tree,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { parseTree } from '../../src/tree/tree-message.ts';
import { blobOf } from '../support/blob-of.ts';
import { seededRandom } from '../support/seeded-random.ts';

const parse = (bytes: Uint8Array) => parseTree(bytes, blobOf(bytes).digest);

/** A tree of raw Directory encodings. */
function treeOf(root: Uint8Array, children: readonly Uint8Array[]): Uint8Array {
  const writer = new BinaryWriter();
  writer.uint32(0x0a).bytes(root);
  for (const child of children) writer.uint32(0x12).bytes(child);
  return writer.finish();
}

const encoded = (directory: Parameters<typeof Directory.fromPartial>[0]) =>
  Directory.encode(Directory.fromPartial(directory)).finish();

test('HI-09, DIR-19: finds a child by the digest of its own bytes, unknown fields included', () => {
  const withUnknownField = Buffer.concat([
    encoded({ symlinks: [{ name: 'l', target: 't' }] }),
    Buffer.from([0x7a, 1, 0x41]),
  ]);
  const { digest } = blobOf(withUnknownField);
  const root = encoded({ directories: [{ name: 'd', digest: digest.toMessage() }] });
  const tree = parse(treeOf(root, [withUnknownField]));
  assert.ok(tree.rootDigest.equals(blobOf(root).digest));
  assert.equal(tree.children.get(digest.key)?.symlinks[0]?.target, 't');
});

test('HI-05, RAC-03: a tree of more than a million directories is refused, whatever they are', () => {
  const tree = Buffer.concat([
    treeOf(encoded({}), []),
    Buffer.alloc(2_000_004, Buffer.of(0x12, 0)),
  ]);
  const refused = { code: Code.INVALID_ARGUMENT, message: /more than 1000000 nodes/ };
  assert.throws(() => parse(tree), refused);
});

test('DIR-20: takes a child that is there twice, and one that nothing refers to', () => {
  const spare = encoded({ symlinks: [{ name: 'l', target: 't' }] });
  const tree = parse(treeOf(encoded({}), [spare, spare]));
  assert.deepEqual([...tree.children.keys()], [blobOf(spare).digest.key]);
});

test('RES-18: 0a 00 is a tree with an empty root', () => {
  const tree = parse(Buffer.from([0x0a, 0x00]));
  assert.deepEqual(tree.root.files, []);
  assert.deepEqual(
    Buffer.from([0x0a, 0x00]),
    Buffer.from(Tree.encode(Tree.fromPartial({ root: {} })).finish()),
  );
});

describe('refuses', () => {
  for (const [what, bytes] of [
    ['a tree without a root', Buffer.from([0x12, 0x00])],
    ['a text', Buffer.from('hello, world')],
    ['a tree cut short', treeOf(encoded({}), [encoded({})]).subarray(0, -1)],
    [
      'a tree whose child leaves its folder',
      treeOf(encoded({}), [encoded({ symlinks: [{ name: '..', target: 't' }] })]),
    ],
  ] as const) {
    it(what, () => assert.throws(() => parse(bytes), { code: Code.INVALID_ARGUMENT }));
  }
});

test('answers nonsense with INVALID_ARGUMENT or a tree, never with another error', (t) => {
  const seed = Number(process.hrtime.bigint() % 1_000_000n);
  t.diagnostic(`seed ${seed}`);
  const random = seededRandom(seed);
  const child = encoded({ symlinks: [{ name: 'link', target: 'target' }] });
  const digest = blobOf(child).digest.toMessage();
  const whole = treeOf(encoded({ directories: [{ name: 'directory', digest }] }), [child]);
  for (let round = 0; round < 2000; round++) {
    const bytes = Uint8Array.from(whole);
    for (let flips = 0; flips < 3; flips++) {
      bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
    }
    try {
      parse(bytes.subarray(0, Math.ceil(random() * bytes.length)));
    } catch (error) {
      assert.equal((error as { code?: Code }).code, Code.INVALID_ARGUMENT, String(error));
    }
  }
});
