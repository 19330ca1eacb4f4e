import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  truncateSync,
  utimesSync,
} from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import { Digest } from '../../src/digest/digest.ts';
import {
  Command,
  Command_OutputDirectoryFormat,
  Directory,
  Tree,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { collectOutputs, defaultOutputLimits } from '../../src/tree/collect-outputs.ts';
import { makeFolder } from '../../src/tree/inside-root.ts';
import { supportedNodeProperties } from '../../src/tree/node-properties.ts';
import { uploadMissing } from '../../src/tree/upload-files.ts';
import { removeFolder } from '../../src/worker/remove-folder.ts';
import { blobOf } from '../support/blob-of.ts';
import { PlainBlobStore } from '../support/memory-blob-store.ts';
import { never } from '../support/never.ts';
import { tempDir } from '../support/temp-dir.ts';

/** An input root after its command: `-> x` is a link, `undefined` a folder, the rest are files. */
function bench(t: TestContext, entries: Readonly<Record<string, string | undefined>>) {
  const root = path.join(tempDir(t), 'base');
  mkdirSync(root);
  for (const [name, content] of Object.entries(entries)) {
    const at = path.join(root, name);
    mkdirSync(content === undefined ? at : path.dirname(at), { recursive: true });
    if (content?.startsWith('-> ')) symlinkSync(content.slice(3), at);
    else if (content !== undefined) writeFileSync(at, content);
  }
  const collect = (
    command: Partial<Command>,
    limits = defaultOutputLimits,
    owner?: { readonly uid: number; readonly gid: number },
  ) => collectOutputs(Command.fromPartial(command), root, sha256, limits, owner, never);
  /** What was found, in short: `f:` files, `d:` directories, `s:` links; `fs:`, `ds:` the older links. */
  const list = async (command: Partial<Command>) => {
    const { outputs } = await collect(command);
    return [
      ...outputs.outputFiles.map((file) => `f:${file.path}`),
      ...outputs.outputDirectories.map((directory) => `d:${directory.path}`),
      ...outputs.outputSymlinks.map((link) => `s:${link.path}>${link.target}`),
      ...outputs.outputFileSymlinks.map((link) => `fs:${link.path}>${link.target}`),
      ...outputs.outputDirectorySymlinks.map((link) => `ds:${link.path}>${link.target}`),
    ];
  };
  return { root, collect, list };
}

const everything = {
  'o/f': 'one',
  'o/d/x': 'two',
  'o/d/e': undefined,
  'o/lf': '-> f',
  'o/ld': '-> d',
  'o/lost': '-> nowhere',
  'w/own': 'three',
};

describe('collecting outputs', () => {
  it('RES-01, RES-02, RES-05, RES-06, RES-07: finds what output_paths ask for, links in both generations', async (t) => {
    const { list } = bench(t, everything);
    const outputPaths = ['o/lost', 'o/f', 'o/d', 'o/lf', 'o/ld', 'o/none', 'o/f/under', 'no/such'];
    assert.deepEqual(await list({ outputPaths }), [
      'f:o/f',
      'd:o/d',
      's:o/ld>d',
      's:o/lf>f',
      's:o/lost>nowhere',
      'fs:o/lf>f',
      'fs:o/lost>nowhere',
      'ds:o/ld>d',
    ]);
  });

  it('ACT-21, RES-31: finds outputs inside others, and lists them in order however they are asked for', async (t) => {
    const { list } = bench(t, everything);
    for (const outputPaths of [
      ['o', 'o/d', 'o/d/x', 'o/f', 'w/own'],
      ['w/own', 'o/d/x', 'o', 'o/f', 'o/d'],
    ]) {
      assert.deepEqual(await list({ outputPaths }), [
        'f:o/d/x',
        'f:o/f',
        'f:w/own',
        'd:o',
        'd:o/d',
      ]);
    }
  });

  it('ACT-14: does not look at the older fields when there are output_paths', async (t) => {
    const { list } = bench(t, everything);
    const command = { outputPaths: ['o/f'], outputFiles: ['w/own'], outputDirectories: ['o/d'] };
    assert.deepEqual(await list(command), ['f:o/f']);
  });

  it('RES-08, RES-09, RES-11: finds what is asked for in the older fields', async (t) => {
    const { list } = bench(t, everything);
    const command = {
      outputFiles: ['o/f', 'o/lf', 'o/lost', 'o/none'],
      outputDirectories: ['o/d', 'o/ld'],
    };
    assert.deepEqual(await list(command), [
      'f:o/f',
      'd:o/d',
      'fs:o/lf>f',
      'fs:o/lost>nowhere',
      'ds:o/ld>d',
    ]);
  });

  for (const command of [
    { outputFiles: ['o/d'] },
    { outputFiles: ['o/ld'] },
    { outputDirectories: ['o/f'] },
    { outputDirectories: ['o/lf'] },
  ]) {
    it(`WK-11, RES-10: refuses another kind than ${JSON.stringify(command)} says`, async (t) => {
      const { collect } = bench(t, everything);
      await assert.rejects(collect(command), { code: Code.FAILED_PRECONDITION });
    });
  }

  it('ACT-19: takes what is there when both older fields name a path', async (t) => {
    const { list } = bench(t, everything);
    const both = ['o/f', 'o/d', 'o/ld', 'o/lost'];
    assert.deepEqual(await list({ outputFiles: both, outputDirectories: both }), [
      'f:o/f',
      'd:o/d',
      'fs:o/lost>nowhere',
      'ds:o/ld>d',
    ]);
  });

  it('RES-03, RES-35, ACT-17: paths are from the working directory and come back as asked', async (t) => {
    const { list, collect } = bench(t, everything);
    const outputPaths = ['own', './own', '../o/../o/f', '../w/own'];
    assert.deepEqual(await list({ workingDirectory: 'w', outputPaths }), [
      'f:../o/../o/f',
      'f:../w/own',
      'f:./own',
      'f:own',
    ]);
    for (const bad of ['../../x', '/o/f', '../../base/o/f']) {
      await assert.rejects(collect({ workingDirectory: 'w', outputPaths: [bad] }), {
        code: Code.INVALID_ARGUMENT,
      });
    }
  });

  it('RES-13, RES-15, RES-17, RES-19: a directory is a sorted Tree, all it refers to is uploaded', async (t) => {
    const { root, collect } = bench(t, { ...everything, 'o/a/d/x': 'two', 'o/l': '-> /no/such' });
    spawnSync('mkfifo', [path.join(root, 'o/pipe')]);
    const outputDirectoryFormat = Command_OutputDirectoryFormat.DIRECTORY_ONLY;
    const collected = await collect({ outputPaths: ['o'], outputDirectoryFormat });
    const store = new PlainBlobStore();
    await uploadMissing(store, collected.blobs, never);
    const [output] = collected.outputs.outputDirectories;
    assert.ok(output?.isTopologicallySorted);
    const read = (message: typeof output.treeDigest) =>
      store.blobs.get(Digest.fromMessage(sha256, message, 'digest').key) ?? Buffer.of();
    const tree = Tree.decode(read(output.treeDigest));
    assert.deepEqual(Directory.decode(read(output.rootDirectoryDigest)), tree.root);
    assert.deepEqual(
      tree.root?.symlinks.map(({ name, target }) => `${name}>${target}`),
      ['l>/no/such', 'ld>d', 'lf>f', 'lost>nowhere'],
    );
    assert.deepEqual(
      tree.root?.files.map(({ name }) => name),
      ['f'],
    );
    assert.equal(read(tree.root?.files[0]?.digest).length, 3);
    for (const child of tree.children) {
      const { key } = Digest.ofBytes(sha256, Directory.encode(child).finish());
      assert.ok(store.blobs.has(key) || child.files.length === 0);
    }
    const again = await collect({ outputPaths: ['o'] });
    assert.deepEqual(again.outputs.outputDirectories[0]?.treeDigest, output.treeDigest);
    assert.equal(again.outputs.outputDirectories[0]?.rootDirectoryDigest, undefined);
  });

  it('ACT-26, RES-14: each format has a tree, and Directory messages are added where asked for', async (t) => {
    const { collect } = bench(t, everything);
    const { TREE_ONLY, DIRECTORY_ONLY, TREE_AND_DIRECTORY } = Command_OutputDirectoryFormat;
    const unknown = 9 as Command_OutputDirectoryFormat;
    const withDirectories = new Set<Command_OutputDirectoryFormat>([
      DIRECTORY_ONLY,
      TREE_AND_DIRECTORY,
    ]);
    for (const outputDirectoryFormat of [TREE_ONLY, DIRECTORY_ONLY, TREE_AND_DIRECTORY, unknown]) {
      const { outputs, blobs } = await collect({ outputPaths: ['o'], outputDirectoryFormat });
      const [output] = outputs.outputDirectories;
      assert.ok(output?.treeDigest);
      const isSeparate = withDirectories.has(outputDirectoryFormat);
      assert.equal(output.rootDirectoryDigest !== undefined, isSeparate);
      const hashes = new Set(Array.from(blobs, ({ digest }) => digest.hash));
      assert.ok(hashes.has(output.treeDigest.hash));
      assert.equal(hashes.has(output.rootDirectoryDigest?.hash ?? ''), isSeparate);
    }
  });

  it('RES-18, ACT-20: an empty directory is a Tree too, and "" is the working directory', async (t) => {
    const { collect } = bench(t, { w: undefined });
    const empty = { ...blobOf(Buffer.of(0x0a, 0)).digest.toMessage() };
    for (const command of [
      { outputPaths: ['w'] },
      { workingDirectory: 'w', outputDirectories: [''] },
    ]) {
      const { outputs } = await collect(command);
      assert.deepEqual(outputs.outputDirectories[0]?.treeDigest, empty);
    }
  });

  it('RES-04: a file is executable when its owner may execute it', async (t) => {
    const { root, collect } = bench(t, { x: '1', y: '1' });
    chmodSync(path.join(root, 'x'), 0o700);
    chmodSync(path.join(root, 'y'), 0o655);
    const { outputs } = await collect({ outputPaths: ['x', 'y'] });
    assert.deepEqual(
      outputs.outputFiles.map(({ isExecutable }) => isExecutable),
      [true, false],
    );
  });

  it('RES-12: refuses a FIFO without opening it', async (t) => {
    const { root, collect } = bench(t, {});
    spawnSync('mkfifo', [path.join(root, 'pipe')]);
    const collecting = collect({ outputPaths: ['pipe'] });
    await assert.rejects(collecting, { code: Code.INVALID_ARGUMENT, message: /"pipe" is a/ });
  });

  it('HI-03, WK-10, RES-22: never follows a link out of the input root', async (t) => {
    const { list, collect } = bench(t, {
      etc: '-> /etc',
      up: '-> ..',
      in: '-> o/d',
      loop: '-> loop',
      'o/d/x': '1',
    });
    for (const outputPath of ['etc/passwd', 'up/base/o/d/x']) {
      await assert.rejects(collect({ outputPaths: [outputPath] }), {
        code: Code.FAILED_PRECONDITION,
      });
    }
    assert.deepEqual(await list({ outputPaths: ['in/x', 'loop/x'] }), ['f:in/x']);
  });

  it('RES-22: finds nothing when the command replaced or removed the input root', async (t) => {
    const { root, list } = bench(t, { f: '1' });
    rmSync(root, { recursive: true });
    assert.deepEqual(await list({ outputPaths: ['f', 'd/f'] }), []);
    symlinkSync('/etc', root);
    assert.deepEqual(await list({ outputPaths: ['passwd', ''] }), []);
  });

  it('WRK-18: an output that the command made unreadable is the fault of the action', async (t) => {
    const { root, collect } = bench(t, {});
    const script =
      'mkdir d; cd d; for i in $(seq 60); do n=$(printf %0100d "$i"); mkdir "$n"; cd "$n"; done';
    spawnSync('sh', ['-c', script], { cwd: root, stdio: 'ignore' });
    await assert.rejects(collect({ outputPaths: ['d'] }), {
      code: Code.INVALID_ARGUMENT,
      message: /output "d" cannot be read: ENAMETOOLONG/,
    });
    await removeFolder(root);
  });

  it('RES-30, ACT-25: returns the node properties asked for, and refuses unknown ones', async (t) => {
    const { root, collect } = bench(t, { f: '1', l: '-> f', 'd/x': '' });
    chmodSync(path.join(root, 'f'), 0o640);
    const command = { outputPaths: ['f', 'l', 'd'], outputNodeProperties: ['mtime', 'unix_mode'] };
    const { outputs } = await collect(command);
    assert.equal(outputs.outputFiles[0]?.nodeProperties?.unixMode, 0o640);
    assert.ok((outputs.outputSymlinks[0]?.nodeProperties?.mtime?.seconds ?? 0) > 1e9);
    await assert.rejects(collect({ outputNodeProperties: ['bogus'] }), {
      code: Code.INVALID_ARGUMENT,
      message: /"bogus"; supported: mtime, unix_mode/,
    });
  });

  it('CAP-25: returns each node property that is announced, alone', async (t) => {
    const { root, collect } = bench(t, { f: '1' });
    chmodSync(path.join(root, 'f'), 0o640);
    utimesSync(path.join(root, 'f'), 1000, 1000);
    const seen = new Map<string, unknown>();
    for (const name of supportedNodeProperties) {
      const { outputs } = await collect({ outputPaths: ['f'], outputNodeProperties: [name] });
      const { mtime, unixMode } = outputs.outputFiles[0]?.nodeProperties ?? {};
      seen.set(name, { mtime: mtime?.seconds, unixMode });
    }
    const expected = {
      mtime: { mtime: 1000, unixMode: undefined },
      unix_mode: { mtime: undefined, unixMode: 0o640 },
    };
    assert.deepEqual(Object.fromEntries(seen), expected);
  });

  it('WK-12: refuses outputs beyond the limits, of all of them together, and a tree too deep', async (t) => {
    const deep = Array.from({ length: 1_200 }, () => 'd').join('/');
    const { collect } = bench(t, {
      f: '12345',
      'd/x': '123',
      'd/y': '456',
      [`e/${deep}`]: undefined,
    });
    const refused = { code: Code.INVALID_ARGUMENT, message: /limit/ };
    for (const [outputPaths, limits] of [
      [['f'], { bytesMax: 4 }],
      [['d'], { bytesMax: 4 }],
      [['d', 'f'], { bytesMax: 10 }],
      [['d'], { entriesMax: 1 }],
      [['d', './d', 'd/../d'], { entriesMax: 5 }],
      [['e'], {}],
    ] as const) {
      const collecting = collect(
        { outputPaths: [...outputPaths] },
        { ...defaultOutputLimits, ...limits },
      );
      await assert.rejects(collecting, refused);
    }
    const { outputs } = await collect(
      { outputPaths: ['d', 'f'] },
      { ...defaultOutputLimits, bytesMax: 11 },
    );
    assert.equal(outputs.outputDirectories.length, 1);
  });
});

it('CI-19: a sparse output of 1 TiB is refused before it is read', async (t) => {
  const { root, collect } = bench(t, { f: '' });
  truncateSync(path.join(root, 'f'), 2 ** 40);
  const refused = { code: Code.INVALID_ARGUMENT, message: /limit/ };
  await assert.rejects(collect({ outputPaths: ['f'] }), refused);
});

describe('making the folders of outputs', () => {
  it('ACT-22: makes what is not there', async (t) => {
    const { root } = bench(t, { 'a/in': 'x', link: '-> a' });
    await makeFolder(root, 'a/b/c', undefined);
    await makeFolder(root, '', undefined);
    await makeFolder(root, 'link/d', undefined);
    assert.equal(statSync(path.join(root, 'a/b/c')).mode & 0o777, 0o755);
    assert.ok(existsSync(path.join(root, 'a/d')));
  });

  it('HI-03, HI-11: refuses a file in the way, and a link that leads out', async (t) => {
    const { root } = bench(t, { f: 'x', out: '-> /tmp', lost: '-> nowhere' });
    for (const folder of ['f/x', 'lost/x']) {
      await assert.rejects(makeFolder(root, folder, undefined), { code: Code.INVALID_ARGUMENT });
    }
    await assert.rejects(makeFolder(root, 'out/x', undefined), { code: Code.FAILED_PRECONDITION });
    assert.ok(!existsSync('/tmp/x'));
  });
});
