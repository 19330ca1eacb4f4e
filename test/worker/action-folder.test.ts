import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { prepareAction } from '../../src/worker/prepare-action.ts';
import { actionEnvironment } from '../support/action-environment.ts';
import { putAction } from '../support/action-of.ts';
import { dir } from '../support/input-tree.ts';
import { PlainBlobStore } from '../support/memory-blob-store.ts';
import { never } from '../support/never.ts';
import { tempDir } from '../support/temp-dir.ts';

test("WK-25: a command gets to its own folder and input root, and not to another action's or the cache", async (t) => {
  const asRoot = process.getuid?.() === 0;
  const owner = asRoot ? { uid: 59_001, gid: 59_001 } : undefined;
  const root = tempDir(t);
  mkdirSync(path.join(root, 'actions'), { mode: 0o711 });
  const { files, directories, treeLimits } = await actionEnvironment(root);
  const store = new PlainBlobStore();
  const digest = await putAction(store, 'true', { inputs: dir({ input: 'secret' }) });
  const folder = path.join(root, 'actions', 'one');
  const options = { files, directories, limits: treeLimits, hardLinks: asRoot, owner };
  const { inputRoot } = await prepareAction(digest, folder, store, options, never);
  assert.equal(statSync(folder).mode & 0o7777, asRoot ? 0o710 : 0o700);
  assert.equal(statSync(path.join(root, 'files')).mode & 0o7777, 0o700);
  if (!asRoot) return t.skip('the rest needs root to run commands as other users');
  const read = (uid: number) => {
    const { stdout, stderr } = spawnSync('cat', [path.join(inputRoot, 'input')], {
      uid,
      gid: uid,
      encoding: 'utf8',
    });
    return stdout + stderr;
  };
  assert.equal(read(59_001), 'secret');
  assert.match(read(59_002), /Permission denied/);
  return undefined;
});
