import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import { Digest } from '../../src/digest/digest.ts';
import { Directory } from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  defaultScanOptions,
  scanFolder,
  type ScanOptions,
  type ScannedFolder,
} from '../../src/tree/scan-folder.ts';
import { blobOf } from '../support/blob-of.ts';
import { never } from '../support/never.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { tempDir } from '../support/temp-dir.ts';

/** Makes a folder: a text is a file, `-> x` a link, `undefined` an empty folder. */
function folderWith(t: TestContext, entries: Readonly<Record<string, string | undefined>>): string {
  const root = path.join(tempDir(t), 'root');
  mkdirSync(root);
  for (const [name, content] of Object.entries(entries)) {
    const at = path.join(root, name);
    mkdirSync(content === undefined ? at : path.dirname(at), { recursive: true });
    if (content?.startsWith('-> ')) symlinkSync(content.slice(3), at);
    else if (content !== undefined) writeFileSync(at, content);
  }
  return root;
}

const scan = (folder: string, options: Partial<ScanOptions> = {}) =>
  scanFolder(folder, sha256, { ...defaultScanOptions, ...options }, never);

const messages = (scanned: ScannedFolder) =>
  new Map(scanned.directories.map(({ digest, bytes }) => [digest.hash, Directory.decode(bytes)]));

test('a folder becomes one Directory for each distinct folder, and a file for each file', async (t) => {
  const root = folderWith(t, { 'b/x': 'hello', 'c/x': 'hello', a: 'one', empty: undefined });
  chmodSync(path.join(root, 'a'), 0o755);
  const scanned = await scan(root);
  assert.deepEqual(scanned.totals, { files: 3, directories: 4, symlinks: 0, bytes: 13 });
  assert.equal(scanned.directories.length, 3);
  const message = messages(scanned).get(scanned.root.hash);
  const x = Digest.ofBytes(
    sha256,
    Directory.encode(
      Directory.fromPartial({ files: [{ name: 'x', digest: blobOf('hello').digest.toMessage() }] }),
    ).finish(),
  ).toMessage();
  assert.deepEqual(
    message,
    Directory.fromPartial({
      files: [{ name: 'a', digest: blobOf('one').digest.toMessage(), isExecutable: true }],
      directories: [
        { name: 'b', digest: x },
        { name: 'c', digest: x },
        { name: 'empty', digest: blobOf('').digest.toMessage() },
      ],
    }),
  );
});

test('DIR-04, RES-20: names are in the order of their UTF-8 bytes', async (t) => {
  const root = folderWith(t, { '😀': '', '｡': '', z: '' });
  const scanned = await scan(root);
  const names = messages(scanned)
    .get(scanned.root.hash)
    ?.files.map(({ name }) => name);
  assert.deepEqual(names, ['z', '｡', '😀']);
});

test('RES-19, DIR-09: links stay as they are, wherever they lead', async (t) => {
  const root = folderWith(t, { up: '-> a/../b/./c', dir: '-> /tmp', d: undefined });
  const scanned = await scan(root);
  assert.deepEqual(
    messages(scanned)
      .get(scanned.root.hash)
      ?.symlinks.map(({ name, target }) => [name, target]),
    [
      ['dir', '/tmp'],
      ['up', 'a/../b/./c'],
    ],
  );
  assert.equal(scanned.files.length, 0);
});

test('RES-15, RES-16: each directory comes once, after all its parents', async (t) => {
  const seed = Date.now() % 1_000_000;
  t.diagnostic(`seed ${seed}`);
  const random = seededRandom(seed);
  for (let round = 0; round < 20; round++) {
    const entries: Record<string, string | undefined> = { 'a/c/f': '', 'b/y/c/f': '', 'c/f': '' };
    for (let count = 0; count < 25; count++) {
      const depth = 1 + Math.floor(random() * 5);
      const folder = Array.from({ length: depth }, () => 'abc'[Math.floor(random() * 3)]);
      entries[folder.join('/')] = undefined;
    }
    const scanned = await scan(folderWith(t, entries));
    const at = new Map(scanned.directories.map(({ digest }, index) => [digest.hash, index]));
    assert.equal(at.size, scanned.directories.length);
    assert.equal(at.get(scanned.root.hash), 0);
    const named = new Set([scanned.root.hash]);
    for (const [hash, { directories }] of messages(scanned)) {
      for (const { digest } of directories) {
        named.add(digest?.hash ?? '');
        assert.ok((at.get(hash) ?? 0) < (at.get(digest?.hash ?? '') ?? -1));
      }
    }
    assert.equal(named.size, at.size);
  }
});

test('DIR-18: equal folders give equal trees in the same order', async (t) => {
  const one = await scan(folderWith(t, { 'a/x': '1', 'b/x': '2', 'b/y': '' }));
  const two = await scan(folderWith(t, { 'b/y': '', 'b/x': '2', 'a/x': '1' }));
  assert.deepEqual(one.directories, two.directories);
});

test('N4: a name that is not UTF-8 is refused with its path', async (t) => {
  const root = folderWith(t, { d: undefined });
  writeFileSync(Buffer.concat([Buffer.from(`${root}/d/`), Buffer.of(0xff, 0xfe)]), '');
  await assert.rejects(scan(root), {
    code: Code.INVALID_ARGUMENT,
    message: /root\/d is not UTF-8/,
  });
});

test('RES-12: a FIFO is refused by its path, or skipped, and never opened', async (t) => {
  const root = folderWith(t, { a: 'x' });
  assert.equal(spawnSync('mkfifo', [path.join(root, 'pipe')]).status, 0);
  await assert.rejects(scan(root), { code: Code.INVALID_ARGUMENT, message: /root\/pipe is a/ });
  const scanned = await scan(root, { specialFiles: 'skip' });
  assert.equal(scanned.totals.files, 1);
});

test('DIR-05, RES-30: mtime and unix_mode stand on every kind of node when they are asked for, and no others', async (t) => {
  const root = folderWith(t, { 'd/f': 'x', 'd/l': '-> f' });
  chmodSync(path.join(root, 'd/f'), 0o640);
  chmodSync(path.join(root, 'd'), 0o750);
  utimesSync(path.join(root, 'd/f'), new Date(0), new Date(-1500));
  const scanned = await scan(root, { nodeProperties: new Set(['mtime', 'unix_mode'] as const) });
  const d = [...messages(scanned).values()][1];
  const { seconds, nanos } = d?.files[0]?.nodeProperties?.mtime ?? {};
  assert.deepEqual([seconds, nanos], [-2, 500_000_000]);
  assert.equal(d?.files[0]?.nodeProperties?.unixMode, 0o640);
  assert.equal(d?.nodeProperties?.unixMode, 0o750);
  assert.ok(d?.symlinks[0]?.nodeProperties?.mtime);
  const nodes = [...(d?.files ?? []), ...(d?.symlinks ?? []), ...(d ? [d] : [])];
  for (const { nodeProperties } of nodes)
    assert.deepEqual(nodeProperties?.properties, [], 'DIR-05');
});

test('a folder beyond a limit is refused', async (t) => {
  const root = folderWith(t, { 'a/b/c': 'hello', x: '' });
  for (const limit of [{ entriesMax: 3 }, { bytesMax: 4 }, { depthMax: 1 }]) {
    await assert.rejects(scan(root, limit), { code: Code.INVALID_ARGUMENT });
  }
  await scan(root, { entriesMax: 4, bytesMax: 5, depthMax: 2 });
});

test('a folder 1,500 levels deep is scanned without recursion', async (t) => {
  const root = folderWith(t, { [Array.from({ length: 1_500 }, () => 'd').join('/')]: undefined });
  const scanned = await scan(root, { depthMax: 2_000 });
  assert.equal(scanned.directories.length, 1_501);
});
