import assert from 'node:assert/strict';
import { test } from 'node:test';
import { explainUnmatched } from '../../src/scheduler/explain-unmatched.ts';
import { matches, offeredBy, requirementsOf } from '../../src/scheduler/platform.ts';

const asking = (name: string, value: string) => requirementsOf([{ name, value }], new Set());

test('ACT-06: a value of a worker that ends with * takes all that begin so, and others only themselves', () => {
  const offered = offeredBy([
    { name: 'container-image', value: 'docker://registry/build/*' },
    { name: 'pool', value: 'a' },
    { name: 'any', value: '*' },
  ]);
  for (const [name, value, expected] of [
    ['container-image', 'docker://registry/build/gcc:12', true],
    ['container-image', 'docker://registry/build/*', true],
    ['container-image', 'docker://registry/other', false],
    ['container-image', 'docker://Registry/build/gcc', false],
    ['pool', 'a', true],
    ['pool', 'ab', false],
    ['pool', '*', false],
    ['any', '', true],
    ['any', 'x', true],
  ] as const) {
    assert.equal(matches(asking(name, value), offered), expected, `${name}=${value}`);
  }
  assert.match(
    explainUnmatched(asking('container-image', 'ubuntu'), [{ id: 'w', offered }]),
    /no worker has container-image=ubuntu; workers offer container-image=docker:\/\/registry\/build\/\*/,
  );
});
