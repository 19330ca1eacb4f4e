import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findHomeFolder } from '../../src/base/home-folder.ts';

const noHome = () => {
  throw new Error('uv_os_homedir returned ENOENT');
};

test('who has no home, as in some containers, is at home in /', () => {
  assert.equal(findHomeFolder(noHome), '/');
});
