import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { resolveInRoot } from '../../src/tree/output-path.ts';

describe('ACT-17: resolves a path against the working directory inside the input root', () => {
  for (const [workingDirectory, path, resolved] of [
    ['', 'out', 'out'],
    ['', '', ''],
    ['a', '', 'a'],
    ['a', '../x', 'x'],
    ['a', '..', ''],
    ['a/b', '../..', ''],
    ['a', './b/../c//d', 'a/c/d'],
    ['./a/', 'b/', 'a/b'],
    ['a', 'b/...', 'a/b/...'],
    ['a', '../../x', undefined],
    ['', '..', undefined],
    ['a', '../../a/x', undefined],
    ['..', 'x', undefined],
    ['', '/etc/passwd', undefined],
    ['/a', 'x', undefined],
    ['a', 'x\0y', undefined],
  ] as const) {
    it(`${JSON.stringify(path)} from ${JSON.stringify(workingDirectory)}`, () => {
      assert.equal(resolveInRoot(workingDirectory, path), resolved);
    });
  }
});
