import assert from 'node:assert/strict';
import {
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { newId } from '../../src/base/id.ts';
import { silentLog } from '../../src/base/log.ts';
import { DirectoryCache } from '../../src/tree/directory-cache.ts';
import { fetchInputRoot } from '../../src/tree/fetch-input-root.ts';
import { defaultTreeLimits } from '../../src/tree/walk-directories.ts';
import { FileCache } from '../../src/worker/file-cache.ts';
import { findInputMethod } from '../../src/worker/input-method.ts';
import { dir, putTree } from '../support/input-tree.ts';
import { PlainBlobStore } from '../support/memory-blob-store.ts';
import { never } from '../support/never.ts';
import { folderWithReflinks, reflinkSkip } from '../support/reflinks.ts';
import { tempDir } from '../support/temp-dir.ts';

/** Whether the file system of a folder shares what files have in common. */
function hasReflinks(folder: string): boolean {
  writeFileSync(path.join(folder, 'a'), 'a');
  try {
    copyFileSync(path.join(folder, 'a'), path.join(folder, 'b'), constants.COPYFILE_FICLONE_FORCE);
    return true;
  } catch {
    return false;
  } finally {
    for (const name of ['a', 'b']) rmSync(path.join(folder, name), { force: true });
  }
}

test('files are linked where commands cannot change them', async (t) => {
  const folder = tempDir(t);
  const found = await findInputMethod(tempDir(t), folder, true);
  assert.deepEqual(found, { method: 'hard links', why: 'commands run as another user' });
  assert.deepEqual(readdirSync(folder), []);
});

test('WRK-03: files are never linked where commands could change them', async (t) => {
  const folder = tempDir(t);
  const { method, why } = await findInputMethod(tempDir(t), folder, false);
  assert.equal(method, hasReflinks(folder) ? 'reflinks' : 'copies');
  assert.match(why, /as the user of the worker/);
  assert.deepEqual(readdirSync(folder), []);
});

test('files are reflinked where the file system has it: a copy stores nothing anew', async (t) => {
  if (reflinkSkip) return t.skip(reflinkSkip);
  const folder = folderWithReflinks(t);
  const kept = path.join(folder, 'kept');
  mkdirSync(kept);
  const { method, why } = await findInputMethod(folder, kept, false);
  assert.deepEqual([method, why], ['reflinks', 'commands run as the user of the worker']);
  const store = new PlainBlobStore();
  const sizeBytes = 20 * 2 ** 20;
  const inputs = dir({ large: 'x'.repeat(sizeBytes) });
  const cache = { bytesMax: 2 ** 30, newId, log: silentLog };
  const files = await FileCache.open(path.join(folder, 'cache'), cache);
  const directories = new DirectoryCache(2 ** 20);
  const fetching = {
    files,
    directories,
    limits: defaultTreeLimits,
    owner: undefined,
    hardLinks: false,
  };
  const free = (): number => statfsSync(folder).bfree * statfsSync(folder).bsize;
  const root = await putTree(store, inputs);
  const fetch = (name: string) =>
    fetchInputRoot(root, path.join(folder, name), store, fetching, never);
  await fetch('one');
  const before = free();
  await fetch('two');
  await fetch('three');
  assert.ok(before - free() < sizeBytes / 4, `${before - free()} bytes more are stored`);
  const [one, two] = ['one', 'two'].map((name) => statSync(path.join(folder, name, 'large')));
  assert.notEqual(one?.ino, two?.ino);
  return undefined;
});

test('files are copied to another file system', async (t) => {
  const folder = tempDir(t);
  const other = otherFileSystem(t, folder);
  if (other === undefined) return t.skip('needs /dev/shm on a file system of its own');
  const { method, why } = await findInputMethod(folder, other, true);
  assert.equal(method, 'copies');
  assert.match(why, /refuses hard links \(EXDEV\), and the file system has no reflinks/);
  assert.deepEqual(readdirSync(other), []);
  return undefined;
});

function otherFileSystem(t: TestContext, folder: string): string | undefined {
  if (!existsSync('/dev/shm') || statSync('/dev/shm').dev === statSync(folder).dev)
    return undefined;
  const other = mkdtempSync('/dev/shm/expbuild-test-');
  t.after(() => rmSync(other, { recursive: true }));
  return other;
}
