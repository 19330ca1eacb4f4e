import assert from 'node:assert/strict';
import { statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { makeFolder } from '../../src/base/make-folder.ts';
import { tempDir } from '../support/temp-dir.ts';

test('a folder is made with those above it, and may be there already', (t) => {
  const folder = path.join(tempDir(t), 'a', 'b');
  makeFolder(folder, 0o700);
  makeFolder(folder, 0o700);
  assert.equal(statSync(path.dirname(folder)).mode & 0o777, 0o700);
});

test('a place where no folder can be is told, also when it says ENOENT', (t) => {
  const file = path.join(tempDir(t), 'file');
  writeFileSync(file, '');
  assert.throws(() => makeFolder('/proc/expbuild/a', 0o700), { code: 'ENOENT' });
  assert.throws(() => makeFolder(path.join(file, 'a'), 0o700), { code: 'ENOTDIR' });
  assert.throws(() => makeFolder(file, 0o700), { code: 'EEXIST' });
});
