import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { quoted } from '../../src/base/quoted.ts';
import { depthFrom, resolveInRoot } from '../../src/tree/output-path.ts';

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
    ['a', `${'./'.repeat(2048)}x`, undefined],
    ['b/../'.repeat(1000), 'x', undefined],
  ] as const) {
    it(`${quoted(path)} from ${quoted(workingDirectory)}`, () => {
      assert.equal(resolveInRoot(workingDirectory, path), resolved);
      const start = depthFrom(0, workingDirectory);
      const depth = start === undefined ? undefined : depthFrom(start, path);
      assert.equal(depth, resolved?.split('/').filter((segment) => segment !== '').length);
    });
  }
});
