import assert from 'node:assert/strict';
import { test } from 'node:test';
import { printable } from '../../src/base/printable.ts';

test('text from elsewhere cannot steer a terminal', () => {
  assert.equal(printable('a\u001b[2Jb\r\nc\u009b'), String.raw`a\u001b[2Jb\r\nc\u009b`);
  assert.equal(printable('grün 😀'), 'grün 😀');
});
