import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { logNameOf, parseLogName } from '../../src/logs/log-name.ts';

const id = '0b7c1f9e-0b7c-4f9e-8b7c-0b7c1f9e0b7c';
const hash = 'a'.repeat(64);

for (const [name, parent, token] of [
  [id, undefined, undefined],
  [`logstreams/${id}`, '', undefined],
  [`main/logstreams/${id}`, 'main', undefined],
  [`a/b//logstreams/${id}/`, 'a/b', undefined],
  [`main/logstreams/${id}/secret`, 'main', 'secret'],
  [`a/logstreams/logstreams/${id}`, 'a/logstreams', undefined],
  [`a/logstreams/logstreams/${id}/secret`, 'a/logstreams', 'secret'],
] as const) {
  test(`LOG-11: ${name} names a log stream`, () => {
    assert.deepEqual(parseLogName(name), { parent, id, token });
  });
}

for (const name of [
  `main/blobs/${hash}/1`,
  `logstreams/x/blobs/${hash}/1`,
  `uploads/logstreams/blobs/${hash}/1/logstreams/x`,
  `main/uploads/x/compressed-blobs/zstd/${hash}/1`,
  '',
  'main',
]) {
  test(`${JSON.stringify(name)} names no log stream`, () => {
    assert.equal(parseLogName(name), undefined);
  });
}

for (const name of ['logstreams', 'main/logstreams', 'main/logstreams/id/secret/more']) {
  test(`LOG-09: ${name} is refused without telling it`, () => {
    assert.throws(
      () => parseLogName(name),
      (error: { code: number; message: string }) =>
        error.code === Code.INVALID_ARGUMENT && !error.message.includes('secret'),
    );
  });
}

test('RCL-08, LOG-11: what an operation tells is read below its instance, or as it is', () => {
  assert.equal(logNameOf('main', id), `main/logstreams/${id}`);
  assert.equal(logNameOf('', id), `logstreams/${id}`);
  assert.equal(logNameOf('main', `other/logstreams/${id}`), `other/logstreams/${id}`);
});
