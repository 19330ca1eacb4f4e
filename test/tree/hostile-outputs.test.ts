import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import { Digest } from '../../src/digest/digest.ts';
import {
  Command,
  Directory,
  Tree,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  type CollectedOutputs,
  collectOutputs,
  defaultOutputLimits,
} from '../../src/tree/collect-outputs.ts';
import { outputFailure } from '../../src/tree/output-failure.ts';
import { fileChunks } from '../../src/tree/file-chunks.ts';
import { defaultScanOptions, scanFolder } from '../../src/tree/scan-folder.ts';
import { uploadMissing } from '../../src/tree/upload-files.ts';
import { blobOf } from '../support/blob-of.ts';
import { PlainBlobStore } from '../support/memory-blob-store.ts';
import { never } from '../support/never.ts';
import { tempDir } from '../support/temp-dir.ts';

const isRoot = process.getuid?.() === 0;
const refused = (message: RegExp) => ({ code: Code.INVALID_ARGUMENT, message });
/** Nobody is this user here. */
const user = { uid: 64_101, gid: 64_101 };

/** An input root with the folder `d` in it. */
function bench(t: TestContext) {
  const folder = tempDir(t);
  const root = path.join(folder, 'root');
  mkdirSync(path.join(root, 'd'), { recursive: true });
  const collect = (outputPaths: string[], owner?: typeof user) => {
    const command = Command.fromPartial({ outputPaths, outputNodeProperties: ['unix_mode'] });
    return collectOutputs(command, root, sha256, defaultOutputLimits, owner, never);
  };
  return { folder, root, d: path.join(root, 'd'), collect };
}

/** The root of the only output directory, once all is uploaded. */
async function treeOf(collected: CollectedOutputs): Promise<Directory> {
  const store = new PlainBlobStore();
  await uploadMissing(store, collected.blobs, never);
  const tree = collected.outputs.outputDirectories[0]?.treeDigest;
  const bytes = store.blobs.get(Digest.fromMessage(sha256, tree, 'tree_digest').key);
  return Directory.fromPartial(Tree.decode(bytes ?? Buffer.of()).root ?? {});
}

describe('hostile outputs', () => {
  it('WK-09: sockets, FIFOs and devices are refused by their path, and never opened', async (t) => {
    const { d, collect } = bench(t);
    spawnSync('mkfifo', [path.join(d, 'pipe')]);
    const server = createServer().listen(path.join(d, 'socket'));
    t.after(() => server.close());
    await once(server, 'listening');
    if (isRoot) spawnSync('mknod', [path.join(d, 'device'), 'c', '1', '5']);
    for (const name of readdirSync(d)) {
      await assert.rejects(
        collect([`d/${name}`]),
        refused(new RegExp(`"d/${name}" is a socket, FIFO`)),
      );
    }
    const collected = await collect(['d']);
    assert.deepEqual((await treeOf(collected)).files, [], 'a directory is taken without them');
  });

  it('WK-10: a folder that becomes a link while it is read gives nothing away', async (t) => {
    const { folder, root, d } = bench(t);
    writeFileSync(path.join(d, 'f'), 'mine');
    mkdirSync(path.join(folder, 'outside'));
    writeFileSync(path.join(folder, 'outside', 'f'), 'secret');
    const swap = () => {
      renameSync(d, path.join(root, 'gone'));
      symlinkSync('../outside', d);
    };
    const options = { ...defaultScanOptions, opening: 'in-place', admit: swap } as const;
    await assert.rejects(scanFolder(d, sha256, options, never), refused(/replaced by a link/));
    await assert.rejects(scanFolder(`${d}/.`, sha256, options, never), refused(/not|replaced/));
    const late = fileChunks(path.join(d, 'f'), 'in-place')[Symbol.asyncIterator]().next();
    await assert.rejects(late, refused(/replaced by a link/));
  });

  it('CI-18: of a file that grows or shrinks after it was hashed, nothing is stored', async (t) => {
    for (const change of [
      (file: string) => appendFileSync(file, 'more'),
      (file: string) => truncateSync(file, 2),
      (file: string) => writeFileSync(file, 'other'),
    ]) {
      const { root, collect } = bench(t);
      const file = path.join(root, 'f');
      writeFileSync(file, 'bytes');
      const { blobs } = await collect(['f']);
      change(file);
      const store = new PlainBlobStore();
      await assert.rejects(uploadMissing(store, blobs, never), { code: Code.INVALID_ARGUMENT });
      assert.equal(store.blobs.size, 0);
    }
  });

  it('WK-13: odd names come back as they are, and one that is not UTF-8 is refused', async (t) => {
    const { d, collect } = bench(t);
    const names = ['-rf', 'a\nb', '\u202etxt', 'Case', 'case', 'x'.repeat(255), ' ', '\\', '😀'];
    for (const name of names) writeFileSync(path.join(d, name), '');
    const tree = await treeOf(await collect(['d']));
    assert.deepEqual(new Set(tree.files.map(({ name }) => name)), new Set(names));
    writeFileSync(Buffer.concat([Buffer.from(`${d}/`), Buffer.of(0xff)]), '');
    await assert.rejects(collect(['d']), refused(/^a name in d is not UTF-8: "ÿ"$/));
  });

  it('a name or target that is not UTF-8 is told from the input root, also where that is behind a link', async (t) => {
    const { folder, d } = bench(t);
    const command = Command.fromPartial({ outputPaths: ['d'] });
    symlinkSync(folder, path.join(folder, 'alias'));
    const root = path.join(folder, 'alias', 'root');
    const collect = () =>
      collectOutputs(command, root, sha256, defaultOutputLimits, undefined, never);
    mkdirSync(path.join(d, 'in'));
    symlinkSync(Buffer.of(0xff, 0x41), path.join(d, 'in', 'link'));
    await assert.rejects(collect(), refused(/^the target of d\/in\/link is not UTF-8: "ÿA"$/));
    writeFileSync(Buffer.concat([Buffer.from(`${d}/in/`), Buffer.of(0xfe)]), '');
    rmSync(path.join(d, 'in', 'link'));
    await assert.rejects(collect(), refused(/^a name in d\/in is not UTF-8: "þ"$/));
  });

  it('of setuid, setgid and sticky bits nothing is kept', async (t) => {
    const { d, collect } = bench(t);
    writeFileSync(path.join(d, 'su'), '');
    chmodSync(path.join(d, 'su'), 0o6755);
    chmodSync(d, 0o1777);
    const collected = await collect(['d', 'd/su']);
    const [file] = collected.outputs.outputFiles;
    assert.deepEqual([file?.isExecutable, file?.nodeProperties?.unixMode], [true, 0o755]);
    assert.equal((await treeOf(collected)).nodeProperties?.unixMode, 0o777);
  });

  it('WK-08: an output that is a link to an input has its digest', async (t) => {
    const { folder, d, collect } = bench(t);
    const cached = path.join(folder, 'cached');
    writeFileSync(cached, 'input', { mode: 0o444 });
    linkSync(cached, path.join(d, 'out'));
    const { outputs } = await collect(['d/out'], user);
    assert.equal(outputs.outputFiles[0]?.digest?.hash, blobOf('input').digest.hash);
  });

  it('a file that the command itself cannot read is not read for it', async (t) => {
    if (!isRoot) return t.skip('needs root to read what others cannot');
    const { folder, d, collect } = bench(t);
    const secret = path.join(folder, 'secret');
    writeFileSync(secret, 'secret', { mode: 0o640 });
    linkSync(secret, path.join(d, 'out'));
    const told = /^d\/out belongs to user 0, and the command itself cannot read it$/;
    for (const output of ['d', 'd/out']) {
      await assert.rejects(collect([output], user), refused(told));
    }
    chownSync(secret, 0, user.gid);
    assert.equal((await collect(['d/out'], user)).outputs.outputFiles.length, 1);
    chownSync(secret, user.uid, user.gid);
    chmodSync(secret, 0);
    assert.equal((await collect(['d/out'], user)).outputs.outputFiles.length, 1);
    return undefined;
  });

  it('files and folders without rights are the fault of the action', async (t) => {
    const { folder, d, collect } = bench(t);
    writeFileSync(path.join(d, 'f'), 'x', { mode: 0 });
    mkdirSync(path.join(d, 'shut', 'in'), { recursive: true });
    chmodSync(path.join(d, 'shut'), 0);
    if (isRoot) {
      for (const place of [folder, path.dirname(folder)]) chmodSync(place, 0o755);
      process.seteuid?.(user.uid);
    }
    try {
      for (const output of ['d/f', 'd/shut', 'd/shut/in', 'd']) {
        const told = /cannot be read: EACCES: permission denied, \w+ '(d|f|shut|d\/[a-z/]+)'$/;
        await assert.rejects(collect([output]), refused(told));
      }
    } finally {
      if (isRoot) process.seteuid?.(0);
      chmodSync(path.join(d, 'shut'), 0o700);
    }
  });

  it('WK-10: what is gone or another thing when it is read fails its own action', async (t) => {
    const { d } = bench(t);
    for (const code of ['ENOENT', 'ENOTDIR', 'ELOOP']) {
      const error = Object.assign(new Error(`${code}: changed, open '${d}/f'`), { code });
      const { message } = (await outputFailure('d', path.dirname(d), error)) as Error;
      assert.equal(message, `output "d" cannot be read: ${code}: changed, open 'd/f'`);
    }
  });

  it('what is mounted in the input root is not read', async (t) => {
    const { d, collect } = bench(t);
    if (spawnSync('mount', ['-t', 'tmpfs', 'none', d]).status !== 0) {
      return t.skip('needs the right to mount');
    }
    try {
      writeFileSync(path.join(d, 'f'), 'x');
      for (const output of ['d', 'd/f', '']) {
        await assert.rejects(collect([output]), refused(/^d(\/f)? is on another file system$/));
      }
    } finally {
      spawnSync('umount', [d]);
    }
    return undefined;
  });
});
