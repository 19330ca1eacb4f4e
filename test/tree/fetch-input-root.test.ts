import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  statSync,
} from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { newId } from '../../src/base/id.ts';
import { silentLog } from '../../src/base/log.ts';
import { Code, type StatusError } from '../../src/base/status.ts';
import type { Digest } from '../../src/digest/digest.ts';
import { Directory } from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { PreconditionFailure } from '../../src/proto/google/rpc/error_details.ts';
import { DirectoryCache } from '../../src/tree/directory-cache.ts';
import { type FetchOptions, fetchInputRoot } from '../../src/tree/fetch-input-root.ts';
import { defaultTreeLimits } from '../../src/tree/walk-directories.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import { FileCache } from '../../src/worker/file-cache.ts';
import { dir, putTree } from '../support/input-tree.ts';
import { PlainBlobStore } from '../support/memory-blob-store.ts';
import { never } from '../support/never.ts';
import { tempDir } from '../support/temp-dir.ts';

async function bench(t: TestContext, options: Partial<FetchOptions> = {}) {
  const folder = tempDir(t);
  const store = new PlainBlobStore();
  const cacheOptions = { bytesMax: 1_000_000, newId, log: silentLog };
  const files = await FileCache.open(path.join(folder, 'files'), cacheOptions);
  const root = path.join(folder, 'root');
  const fetch = (digest: Digest, to = root) =>
    fetchInputRoot(
      digest,
      to,
      store,
      {
        files,
        limits: defaultTreeLimits,
        directories: new DirectoryCache(1_000_000),
        hardLinks: true,
        owner: undefined,
        ...options,
      },
      never,
    );
  return { folder, store, files, root, fetch };
}

const modeOf = (file: string) => lstatSync(file).mode & 0o777;

const tree = dir({
  a: 'one',
  tool: { content: '#!', isExecutable: true },
  nothing: '',
  d: dir({ empty: dir({}), 'f\n-': 'one', 'ü😀': 'two' }),
  e: dir({ x: 'one' }),
  to: { link: '../a/./b' },
  out: { link: '/nowhere' },
});

describe('fetching an input root', () => {
  for (const hardLinks of [true, false]) {
    it(`WRK-04, DIR-07, DIR-08, DIR-09, DIR-11, DIR-12: writes it with ${hardLinks ? 'links' : 'copies'}`, async (t) => {
      const { store, root, fetch } = await bench(t, { hardLinks });
      await fetch(await putTree(store, tree));
      assert.equal(readFileSync(`${root}/a`, 'utf8'), 'one');
      assert.equal(readFileSync(`${root}/d/ü😀`, 'utf8'), 'two');
      assert.equal(readFileSync(`${root}/d/f\n-`, 'utf8'), 'one');
      assert.deepEqual(
        ['a', 'tool', 'nothing', 'd', 'd/empty'].map((name) => modeOf(`${root}/${name}`)),
        [0o444, 0o555, 0o444, 0o755, 0o755],
      );
      assert.equal(readlinkSync(`${root}/to`), '../a/./b');
      assert.equal(readlinkSync(`${root}/out`), '/nowhere');
      const times = ['a', 'nothing'].map((name) => statSync(`${root}/${name}`).mtimeMs);
      assert.deepEqual(times, [946_684_800_000, 946_684_800_000]);
      const inodes = [statSync(`${root}/a`).ino, statSync(`${root}/e/x`).ino];
      assert.equal(inodes[0] === inodes[1], hardLinks);
      assert.equal(statSync(`${root}/nothing`).nlink, 1);
    });
  }

  it('WRK-06, EXE-53: names every missing blob at once', async (t) => {
    const { store, root, fetch } = await bench(t);
    const digest = await putTree(store, tree);
    for (const [key, bytes] of store.blobs) {
      if (['one', 'two'].includes(Buffer.from(bytes).toString())) store.blobs.delete(key);
    }
    await assert.rejects(fetch(digest), (error: StatusError) => {
      assert.equal(error.code, Code.FAILED_PRECONDITION);
      const failure = PreconditionFailure.decode(error.details[0]?.value ?? Buffer.of());
      assert.equal(failure.violations.length, 2);
      return true;
    });
    assert.ok(!existsSync(root));
  });

  it('WRK-06: names missing directories together with the files that are known to be missing', async (t) => {
    const { store, fetch } = await bench(t);
    const digest = await putTree(store, tree);
    const gone = await putTree(store, dir({ x: 'one' }));
    store.blobs.delete(gone.key);
    store.blobs.delete((await store.put('#!', sha256)).key);
    await assert.rejects(fetch(digest), (error: StatusError) => {
      const failure = PreconditionFailure.decode(error.details[0]?.value ?? Buffer.of());
      assert.deepEqual(failure.violations.map(({ subject }) => subject)[0], `blobs/${gone}`);
      assert.equal(failure.violations.length, 2);
      return true;
    });
  });

  it('DIR-13: keeps mtime and unix_mode of inputs, without touching the shared file', async (t) => {
    const { store, root, fetch } = await bench(t);
    const properties = { mtime: { seconds: 1_000, nanos: 500_000_000 }, unixMode: 0o4600 };
    const entries = dir({ a: 'one', b: { content: 'one', properties } });
    await fetch(await putTree(store, entries));
    assert.equal(modeOf(`${root}/b`), 0o600);
    assert.equal(statSync(`${root}/b`).mtimeMs, 1_000_500);
    assert.equal(modeOf(`${root}/a`), 0o444);
  });

  it('DIR-13: keeps those of directories, also of one that nobody may write to', async (t) => {
    const { store, root, fetch } = await bench(t);
    const inner = Directory.fromPartial({
      files: [{ name: 'f', digest: (await store.put('one', sha256)).toMessage() }],
      nodeProperties: { mtime: { seconds: -5, nanos: 0 }, unixMode: 0o555 },
    });
    const digest = await store.put(Directory.encode(inner).finish(), sha256);
    const outer = Directory.fromPartial({
      directories: [{ name: 'd', digest: digest.toMessage() }],
    });
    await fetch(await store.put(Directory.encode(outer).finish(), sha256));
    assert.equal(modeOf(`${root}/d`), 0o555);
    assert.equal(statSync(`${root}/d`).mtimeMs, -5_000);
    // So that it can be removed.
    chmodSync(`${root}/d`, 0o755);
  });

  it('folders belong to whom commands run as, and files to the worker', async (t) => {
    if (process.getuid?.() !== 0) return t.skip('needs root to give folders away');
    const { store, root, fetch } = await bench(t, { owner: { uid: 59_001, gid: 59_002 } });
    await fetch(await putTree(store, tree));
    const { uid, gid } = statSync(`${root}/d`);
    assert.deepEqual([uid, gid, statSync(`${root}/a`).uid], [59_001, 59_002, 0]);
    return undefined;
  });

  it('HI-03: refuses a link that is too long for this system, and a folder that is there', async (t) => {
    const { store, folder, fetch } = await bench(t);
    const digest = await putTree(store, dir({ far: { link: 'x/'.repeat(3_000) } }));
    await assert.rejects(fetch(digest), { code: Code.INVALID_ARGUMENT, message: /too long/ });
    mkdirSync(path.join(folder, 'there'));
    await assert.rejects(fetch(digest, path.join(folder, 'there')), { code: 'EEXIST' });
  });
});
