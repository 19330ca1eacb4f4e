import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { checkInstanceName } from '../../src/digest/instance-name.ts';

for (const name of ['', 'main', 'a/b/c', 'my project/ü', 'Blobs', 'x-blobs', 'a.b_c', '..']) {
  test(`GEN-01: ${JSON.stringify(name)} can be an instance name`, () => {
    checkInstanceName(name);
  });
}

for (const name of [
  'blobs',
  'x/uploads/y',
  'actions',
  'a/actionResults',
  'operations/b',
  'capabilities',
  'compressed-blobs',
]) {
  test(`GEN-02: ${JSON.stringify(name)} has a reserved segment`, () => {
    assert.throws(() => checkInstanceName(name), { code: Code.INVALID_ARGUMENT });
  });
}

for (const name of ['/a', 'a/', 'a//b', '/', '//']) {
  test(`GEN-03: ${JSON.stringify(name)} has a slash too many`, () => {
    assert.throws(() => checkInstanceName(name), { code: Code.INVALID_ARGUMENT });
  });
}

test('a name that is too long is refused, and not repeated in full', () => {
  assert.throws(
    () => checkInstanceName('x'.repeat(100_000)),
    (error: Error) => error.message.length < 400,
  );
});
