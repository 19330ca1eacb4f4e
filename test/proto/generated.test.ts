import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { tempDir } from '../support/temp-dir.ts';

const bin = path.resolve('node_modules/.bin');

const filesIn = (root: string) => globSync('src/proto/**/*.ts', { cwd: root }).toSorted();

test('src/proto is what proto/ says', (t) => {
  const root = tempDir(t);
  execFileSync(path.join(bin, 'buf'), ['generate', '-o', root], {
    env: { ...process.env, PATH: `${bin}:${process.env['PATH']}` },
  });
  const generated = filesIn(root);
  assert.deepEqual(filesIn('.'), generated, 'run npm run proto');
  for (const file of generated) {
    const expected = readFileSync(path.join(root, file), 'utf8');
    assert.equal(readFileSync(file, 'utf8'), expected, `${file} is out of date: run npm run proto`);
  }
});
