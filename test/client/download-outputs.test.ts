import assert from 'node:assert/strict';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { newId } from '../../src/base/id.ts';
import { Code } from '../../src/base/status.ts';
import { downloadOutputs } from '../../src/client/download-outputs.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import {
  ActionResult,
  Directory,
  Tree,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { PlainBlobStore } from '../support/memory-blob-store.ts';
import { never } from '../support/never.ts';
import { tempDir } from '../support/temp-dir.ts';

type Partial = Parameters<typeof ActionResult.fromPartial>[0];

async function setUp(t: TestContext) {
  const blobs = new PlainBlobStore();
  const hello = await blobs.put('hello', sha256);
  const around = tempDir(t);
  const folder = path.join(around, 'out');
  const download = (result: Partial) =>
    downloadOutputs(ActionResult.fromPartial(result), sha256, folder, { blobs, newId }, never);
  return { blobs, hello, around, folder, download, at: (name: string) => path.join(folder, name) };
}

test('files come with their bytes and executable bit, in folders that are made for them', async (t) => {
  const { hello, download, at } = await setUp(t);
  const digest = hello.toMessage();
  await download({
    outputFiles: [
      { path: 'bin/tool', digest, isExecutable: true },
      { path: 'a', digest },
    ],
  });
  assert.equal(readFileSync(at('a'), 'utf8'), 'hello');
  assert.equal(lstatSync(at('a')).mode & 0o111, 0);
  assert.notEqual(lstatSync(at('bin/tool')).mode & 0o100, 0);
  assert.deepEqual(readdirSync(at('bin')), ['tool']);
});

test('RES-31, ACT-21: lists may be in any order, and outputs inside others', async (t) => {
  const { blobs, hello, download, at } = await setUp(t);
  const digest = hello.toMessage();
  const root = Directory.fromPartial({ files: [{ name: 'x', digest }] });
  const treeDigest = (
    await blobs.put(Tree.encode(Tree.fromPartial({ root })).finish(), sha256)
  ).toMessage();
  await download({
    outputFiles: ['z', 'd/x', 'a'].map((file) => ({ path: file, digest })),
    outputDirectories: ['e', 'd'].map((folder) => ({ path: folder, treeDigest })),
    outputSymlinks: ['n', 'm'].map((link) => ({ path: link, target: 'a' })),
  });
  for (const file of ['a', 'z', 'd/x', 'e/x', 'm', 'n']) {
    assert.equal(readFileSync(at(file), 'utf8'), 'hello');
  }
});

test('CLI-14: symlinks of both generations are made as they are, each once', async (t) => {
  const { download, at } = await setUp(t);
  await download({
    outputSymlinks: [{ path: 'both', target: 'nowhere' }],
    outputFileSymlinks: [
      { path: 'both', target: 'nowhere' },
      { path: 'file', target: '/abs/olute' },
    ],
    outputDirectorySymlinks: [{ path: 'folder', target: '..' }],
  });
  assert.equal(readlinkSync(at('both')), 'nowhere');
  assert.equal(readlinkSync(at('file')), '/abs/olute');
  assert.equal(readlinkSync(at('folder')), '..');
});

for (const form of ['treeDigest', 'rootDirectoryDigest'] as const) {
  test(`CLI-14: a directory is made from its ${form}`, async (t) => {
    const { blobs, hello, download, at } = await setUp(t);
    const child = Directory.fromPartial({
      files: [{ name: 'f', digest: hello.toMessage(), isExecutable: true }],
      symlinks: [{ name: 'l', target: 'f' }],
    });
    const childDigest = await blobs.put(Directory.encode(child).finish(), sha256);
    const empty = await blobs.put(new Uint8Array(), sha256);
    const root = Directory.fromPartial({
      directories: [
        { name: 'one', digest: childDigest.toMessage() },
        { name: 'two', digest: childDigest.toMessage() },
        { name: 'void', digest: empty.toMessage() },
      ],
    });
    const rootDigest = await blobs.put(Directory.encode(root).finish(), sha256);
    const tree = Tree.fromPartial({ root, children: [child, Directory.fromPartial({})] });
    const treeDigest = await blobs.put(Tree.encode(tree).finish(), sha256);
    const digest = form === 'treeDigest' ? treeDigest : rootDigest;
    await download({ outputDirectories: [{ path: 'd', [form]: digest.toMessage() }] });
    assert.equal(readFileSync(at('d/two/f'), 'utf8'), 'hello');
    assert.equal(readlinkSync(at('d/one/l')), 'f');
    assert.deepEqual(readdirSync(at('d/void')), []);
  });
}

test('contents that were sent along are used if they match the digest', async (t) => {
  const { hello, blobs, download, at } = await setUp(t);
  const digest = hello.toMessage();
  await download({ outputFiles: [{ path: 'a', digest, contents: Buffer.from('evil!') }] });
  assert.equal(readFileSync(at('a'), 'utf8'), 'hello');
  blobs.blobs.clear();
  await download({ outputFiles: [{ path: 'b', digest, contents: Buffer.from('hello') }] });
  assert.equal(readFileSync(at('b'), 'utf8'), 'hello');
});

for (const [what, result] of [
  ['a path that leads out', { outputSymlinks: [{ path: '../x', target: 'y' }] }],
  [
    'a path that leads out on its way',
    { outputSymlinks: [{ path: 'a/../../out/x', target: 'y' }] },
  ],
  ['an absolute path', { outputSymlinks: [{ path: '/tmp/x', target: 'y' }] }],
  ['a NUL in a path', { outputSymlinks: [{ path: 'a\0b', target: 'y' }] }],
  ['a link in place of the folder', { outputSymlinks: [{ path: '.', target: '/' }] }],
  [
    'an entry below a link of the same result',
    {
      outputSymlinks: [
        { path: 'l', target: '/tmp' },
        { path: 'l/x', target: 'y' },
      ],
    },
  ],
] as const) {
  test(`CLI-16: ${what} is refused, and nothing is written`, async (t) => {
    const { around, download } = await setUp(t);
    await assert.rejects(download(result as unknown as Partial), { code: Code.INVALID_ARGUMENT });
    assert.deepEqual(readdirSync(around), []);
  });
}

test('CLI-16: a folder that is a link already is not written through', async (t) => {
  const { around, folder, hello, download, at } = await setUp(t);
  mkdirSync(folder);
  mkdirSync(path.join(around, 'elsewhere'));
  symlinkSync('../elsewhere', at('d'));
  const outputFiles = [{ path: 'd/f', digest: hello.toMessage() }];
  await assert.rejects(download({ outputFiles }), { code: Code.FAILED_PRECONDITION });
  assert.deepEqual(readdirSync(path.join(around, 'elsewhere')), []);
});

test('CLI-16: a link where a file belongs is replaced, not followed', async (t) => {
  const { around, folder, hello, download, at } = await setUp(t);
  mkdirSync(folder);
  const victim = path.join(around, 'victim');
  writeFileSync(victim, 'mine');
  symlinkSync(victim, at('f'));
  await download({ outputFiles: [{ path: 'f', digest: hello.toMessage() }] });
  assert.equal(readFileSync(victim, 'utf8'), 'mine');
  assert.equal(readFileSync(at('f'), 'utf8'), 'hello');
});

test('an output that is missing on the server leaves no half file behind', async (t) => {
  const { blobs, hello, folder, download, at } = await setUp(t);
  blobs.blobs.clear();
  const outputFiles = [{ path: 'f', digest: hello.toMessage() }];
  await assert.rejects(download({ outputFiles }), { code: Code.NOT_FOUND });
  assert.ok(!existsSync(at('f')));
  assert.deepEqual(readdirSync(folder), []);
});
