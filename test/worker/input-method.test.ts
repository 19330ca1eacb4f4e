import assert from 'node:assert/strict';
import {
  constants,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { findInputMethod } from '../../src/worker/input-method.ts';
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
