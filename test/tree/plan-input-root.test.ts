import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Digest } from '../../src/digest/digest.ts';
import { DirectoryCache } from '../../src/tree/directory-cache.ts';
import type { InputFolders, TakenFolder } from '../../src/tree/input-folders.ts';
import { planInputRoot } from '../../src/tree/plan-input-root.ts';
import { defaultTreeLimits } from '../../src/tree/walk-directories.ts';
import { dir, putTree } from '../support/input-tree.ts';
import { PlainBlobStore } from '../support/memory-blob-store.ts';
import { never } from '../support/never.ts';

test('directories that were taken go back when the plan fails half-way', async () => {
  const store = new PlainBlobStore();
  const root = await putTree(store, dir({ a: dir({ x: 'a' }), b: dir({ x: 'b' }), c: dir({}) }));
  const taken: TakenFolder[] = [];
  const folders: InputFolders = {
    take: async (digest: Digest) => {
      if (digest.equals(root)) return undefined;
      if (taken.length === 2) throw new Error('the disk cannot read it');
      const one = { path: `/kept/${taken.length}`, written: {} } as TakenFolder;
      taken.push(one);
      return one;
    },
    putBack: (one) => void taken.splice(taken.indexOf(one), 1),
    ticked: async () => true,
  };
  const use = { owner: undefined, hardLinks: true };
  const limits = defaultTreeLimits;
  const options = { ...use, limits, directories: new DirectoryCache(1000), folders };
  await assert.rejects(planInputRoot(root, '/root', store, options, never), /cannot read it/);
  assert.deepEqual(taken, []);
});
