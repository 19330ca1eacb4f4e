import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { DirectorySync } from '../../src/cas/directory-sync.ts';
import { tempDir } from '../support/temp-dir.ts';

test('callers that come while a sync runs share the next one', async (t) => {
  const directory = tempDir(t);
  const directories = new DirectorySync();
  const running = directories.sync(directory);
  const [second, third] = [directories.sync(directory), directories.sync(directory)];
  assert.notEqual(second, running, 'the running one may have missed a change');
  assert.equal(third, second);
  await Promise.all([running, second]);
  assert.notEqual(directories.sync(directory), second);
});

test('a sync that fails fails its callers only', async (t) => {
  const missing = path.join(tempDir(t), 'missing');
  const directories = new DirectorySync();
  const results = await Promise.allSettled([directories.sync(missing), directories.sync(missing)]);
  assert.deepEqual(
    results.map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  await assert.rejects(directories.sync(missing), { code: 'ENOENT' });
});
