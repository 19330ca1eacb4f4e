import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { systemClock } from '../../src/base/clock.ts';
import { newId } from '../../src/base/id.ts';
import { createLog, silentLog } from '../../src/base/log.ts';
import type { Digest } from '../../src/digest/digest.ts';
import { DirectoryCache } from '../../src/tree/directory-cache.ts';
import { fetchInputRoot } from '../../src/tree/fetch-input-root.ts';
import type { FolderUse } from '../../src/tree/input-folders.ts';
import { defaultTreeLimits } from '../../src/tree/walk-directories.ts';
import type { WrittenFolder } from '../../src/tree/written-folder.ts';
import { FileCache } from '../../src/worker/file-cache.ts';
import { KeptFolders, type KeptFoldersOptions } from '../../src/worker/kept-folders.ts';
import { removeFolder } from '../../src/worker/remove-folder.ts';
import { dir, putTree, type TreeEntry } from '../support/input-tree.ts';
import { PlainBlobStore } from '../support/memory-blob-store.ts';
import { never } from '../support/never.ts';
import { tempDir } from '../support/temp-dir.ts';

const links: FolderUse = { owner: undefined, hardLinks: true };
const copies: FolderUse = { owner: undefined, hardLinks: false };

/** Inputs are read-only: their owner has to change that first, and back. */
function writeTo(file: string): void {
  const { mode } = statSync(file);
  chmodSync(file, mode | 0o200);
  appendFileSync(file, 'x');
  chmodSync(file, mode);
}

async function bench(t: TestContext, changes: Partial<KeptFoldersOptions> = {}) {
  const folder = tempDir(t);
  const store = new PlainBlobStore();
  const lines: string[] = [];
  const log = createLog({
    level: 'warn',
    format: 'text',
    write: (line) => lines.push(line),
    now: () => 0,
  });
  const files = await FileCache.open(path.join(folder, 'files'), {
    bytesMax: 1_000_000,
    newId,
    log: silentLog,
  });
  const options = { entriesMax: 1_000, bytesMax: 1_000_000, clock: systemClock, newId, log };
  const kept = path.join(folder, 'kept');
  const folders = await KeptFolders.open(kept, { ...options, ...changes });
  let actions = 0;
  /** Writes an input root, has it changed, and keeps what is left. Gives which of `names` were moved there. */
  const act = async (
    tree: ReadonlyMap<string, TreeEntry> | Digest,
    change: (root: string, written: WrittenFolder) => void = () => {},
    use = links,
  ) => {
    const digest = tree instanceof Map ? await putTree(store, tree) : (tree as Digest);
    const place = path.join(folder, `action-${++actions}`);
    const before = new Set(inodesBelow(kept).values());
    const limits = defaultTreeLimits;
    const directories = new DirectoryCache(1_000_000);
    const written = await fetchInputRoot(
      digest,
      place,
      store,
      { files, limits, directories, folders, ...use },
      never,
    );
    assert.ok(written, 'the clock of the file system ticks');
    const now = inodesBelow(place);
    const reused = [...now].filter(([, inode]) => before.has(inode)).map(([name]) => name);
    change(place, written);
    await folders.keep(written, place, use);
    await removeFolder(place);
    return reused.toSorted();
  };
  return { folder, kept, store, files, folders, lines, act };
}

/** The folders below one, by their path in it, itself as ''. */
function inodesBelow(folder: string): Map<string, number> {
  if (!existsSync(folder)) return new Map();
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  const all = ['', ...names].map((name) => [name, lstatSync(path.join(folder, name))] as const);
  return new Map(
    all.filter(([, stats]) => stats.isDirectory()).map(([name, { ino }]) => [name, ino]),
  );
}

const four = (text: string) => ({ a: `${text} a`, b: `${text} b`, c: `${text} c`, d: '' });
const tree = dir({
  left: dir({ ...four('left'), inner: dir(four('inner')) }),
  right: dir({ ...four('right'), link: { link: 'a' } }),
  top: 'file',
});
const all = ['', 'left', 'left/inner', 'right'];

describe('kept folders', () => {
  for (const use of [links, copies]) {
    const how = use.hardLinks ? 'links' : 'copies';
    it(`an input root that an action left unchanged is the next one's, of ${how}`, async (t) => {
      const { act, lines } = await bench(t);
      assert.deepEqual(await act(tree, undefined, use), []);
      assert.deepEqual(
        await act(
          tree,
          (root) => assert.equal(readFileSync(`${root}/left/inner/a`, 'utf8'), 'inner a'),
          use,
        ),
        all,
      );
      assert.deepEqual(await act(tree, undefined, use), all);
      assert.deepEqual(lines, []);
    });

    const changes: Readonly<Record<string, (inner: string) => void>> = {
      'makes a file': (inner) => writeFileSync(`${inner}/new`, ''),
      'makes a file and removes it': (inner) => {
        writeFileSync(`${inner}/new`, '');
        unlinkSync(`${inner}/new`);
        utimesSync(inner, new Date('2000-01-01'), new Date('2000-01-01'));
      },
      'makes a folder': (inner) => mkdirSync(`${inner}/new`),
      'removes a file': (inner) => unlinkSync(`${inner}/a`),
      'renames a file': (inner) => renameSync(`${inner}/a`, `${inner}/z`),
      'replaces a file by the same': (inner) => {
        const bytes = readFileSync(`${inner}/a`);
        unlinkSync(`${inner}/a`);
        writeFileSync(`${inner}/a`, bytes, { mode: 0o444 });
        utimesSync(`${inner}/a`, new Date('2000-01-01'), new Date('2000-01-01'));
      },
      'sets the mode of the folder': (inner) => chmodSync(inner, 0o700),
      'sets the mode of the folder and sets it back': (inner) => {
        chmodSync(inner, 0o700);
        chmodSync(inner, 0o755);
      },
      'sets the time of the folder': (inner) => utimesSync(inner, 0, 0),
      'puts a link in place of the folder': (inner) => {
        renameSync(inner, `${inner}~`);
        symlinkSync(`${path.basename(inner)}~`, inner);
      },
      'removes the folder': (inner) => rmSync(inner, { recursive: true }),
    };
    it(`WK-31: nothing an action does to a folder is left for the next, among ${how}`, async (t) => {
      const { act, lines } = await bench(t);
      const expected: string[] = [];
      await act(tree, (root) => expected.push(...listing(root)), use);
      for (const [what, change] of Object.entries(changes)) {
        await act(tree, (root) => change(`${root}/left/inner`), use);
        const seen: string[] = [];
        const reused = await act(tree, (root) => seen.push(...listing(root)), use);
        assert.deepEqual(reused, ['right'], what);
        assert.deepEqual(seen, expected, what);
      }
      assert.deepEqual(lines, []);
    });
  }

  it('WK-06, WK-31: a copy that an action writes to is not for the next', async (t) => {
    const { act, folder } = await bench(t);
    const elsewhere = path.join(folder, 'elsewhere');
    for (const change of [
      writeTo,
      (place: string) => chmodSync(place, 0o755),
      (place: string) => utimesSync(place, new Date(), new Date()),
      (place: string) => linkSync(place, `${place}~`),
    ]) {
      for (const name of ['a', 'd']) {
        const spoil = (root: string) => {
          // Through a link elsewhere, so that the folder does not change.
          linkSync(`${root}/right/${name}`, elsewhere);
          change(elsewhere);
          for (const made of [elsewhere, `${elsewhere}~`]) rmSync(made, { force: true });
        };
        await act(tree, spoil, copies);
        let seen = '';
        const look = (root: string) => (seen = readFileSync(`${root}/right/a`, 'utf8'));
        assert.deepEqual(await act(tree, look, copies), ['left', 'left/inner']);
        assert.equal(seen, 'right a');
      }
    }
  });

  it('WK-31: a symlink whose time an action set is not for the next', async (t) => {
    const { act } = await bench(t);
    await act(tree, (root) => lutimesSync(`${root}/right/link`, 5, 5));
    let seen = 0;
    await act(tree, (root) => (seen = lstatSync(`${root}/right/link`).mtimeMs));
    assert.equal(seen, Date.parse('2000-01-01T00:00:00Z'));
  });

  it('a shared file that was changed meanwhile is not used again', async (t) => {
    const { act, lines, kept } = await bench(t);
    await act(tree);
    const [root = ''] = readdirSync(kept).filter((name) => name !== 'tick');
    writeTo(path.join(kept, root, 'left/inner/b'));
    const seen: string[] = [];
    const reused = await act(tree, (place) =>
      seen.push(readFileSync(`${place}/left/inner/b`, 'utf8')),
    );
    assert.deepEqual([reused, seen], [[], ['inner b']]);
    assert.match(lines.join(), /WARN.*left\/inner\/b/);
  });

  it('what is unchanged of a tree is used in others, wherever it is in them', async (t) => {
    const { act } = await bench(t);
    await act(tree, (root) => writeFileSync(`${root}/out`, 'an output'));
    const other = dir({
      moved: dir({ deep: dir(four('inner')) }),
      right: dir({ ...four('right'), link: { link: 'a' } }),
      twice: dir({ ...four('right'), link: { link: 'a' } }),
    });
    assert.deepEqual(await act(other), ['moved/deep', 'right']);
    assert.deepEqual(await act(other), ['', 'moved', 'moved/deep', 'right', 'twice']);
  });

  it('only commands of the same user, with files of the same kind, get what another left', async (t) => {
    const { act, folders } = await bench(t);
    await act(tree, undefined, copies);
    assert.deepEqual(await act(tree, undefined, links), []);
    assert.deepEqual(await act(tree, undefined, links), all);
    if (process.getuid?.() !== 0) return t.diagnostic('other users need root');
    const user = { ...links, owner: { uid: 59_001, gid: 59_001 } };
    assert.deepEqual(await act(tree, undefined, user), []);
    assert.deepEqual(
      await act(tree, (root) => assert.equal(statSync(`${root}/left`).uid, 59_001), user),
      all,
    );
    assert.ok(folders.entries > 0);
    return undefined;
  });

  it('WK-06: a file with a mode of its own, which its command can hand on open, is not kept', async (t) => {
    const { act } = await bench(t);
    const own = { content: 'own', properties: { unixMode: 0o644 } };
    const other = dir({ ...four('other'), own, inner: dir(four('inner')) });
    await act(other);
    assert.deepEqual(await act(other), ['inner']);
  });

  it('two that run at once never get the same folder', async (t) => {
    const { act, lines } = await bench(t);
    await act(tree);
    const runs = await Promise.all([act(tree), act(tree), act(tree)]);
    assert.deepEqual(runs.flat().toSorted(), all.toSorted());
    const again = await Promise.all([act(tree), act(tree), act(tree)]);
    assert.deepEqual(
      again.map(({ length }) => length),
      [4, 4, 4],
    );
    assert.deepEqual(lines, []);
  });

  it('keeps to its limits, what was left last stays, and nothing else is on the disk', async (t) => {
    const { act, folders, kept } = await bench(t, { entriesMax: 29 });
    const trees = ['one', 'two', 'three'].map((text) =>
      dir({ ...four(text), in: dir(four(text)) }),
    );
    for (const one of trees) await act(one);
    assert.equal(folders.entries, 20);
    assert.equal(readdirSync(kept).length, 3);
    assert.deepEqual((await act(trees[0] ?? dir({}))).length, 0);
    assert.deepEqual((await act(trees[2] ?? dir({}))).length, 2);
    assert.equal(inodesBelow(kept).size, 5);
  });

  it('WK-05: what an earlier worker kept is removed', async (t) => {
    const { act, kept } = await bench(t);
    await act(tree);
    const options = { entriesMax: 9, bytesMax: 9, clock: systemClock, newId, log: silentLog };
    await KeptFolders.open(kept, options);
    assert.deepEqual(readdirSync(kept), ['tick']);
    assert.equal(statSync(kept).mode & 0o777, 0o700);
  });

  it('a fetch that fails gives back what it had taken', async (t) => {
    const { act, store } = await bench(t);
    await act(tree);
    const other = await putTree(store, dir({ ...Object.fromEntries(tree), more: 'missing' }));
    const missing = await putTree(store, dir({ more: 'missing' }));
    for (const [key, bytes] of store.blobs) {
      if (Buffer.from(bytes).toString() === 'missing') store.blobs.delete(key);
    }
    await assert.rejects(act(other));
    await assert.rejects(act(missing));
    assert.deepEqual(await act(tree), ['left', 'left/inner', 'right']);
  });
});

/** All that a command can see of a folder, but for inodes and the times of reading. */
function listing(root: string): string[] {
  const format = '%P %y %m %u %n %s %T@ %l\n';
  return execFileSync('find', [root, '-printf', format]).toString().split('\n').toSorted();
}
