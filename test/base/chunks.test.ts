import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chunksOf, collect, counting, isSeekable } from '../../src/base/chunks.ts';
import { piecesOf } from '../support/sources.ts';

test('bytes at hand can be had again, from any offset', async () => {
  const chunks = chunksOf(Buffer.from('hello'));
  for (const [offset, rest] of [
    [0, 'hello'],
    [3, 'lo'],
    [5, ''],
  ] as const) {
    assert.equal(String(Buffer.from(await collect(chunks.from(offset)))), rest);
  }
  assert.equal(String(await collect(chunks)), 'hello');
});

test('bytes that are read again are counted once', async () => {
  let bytes = 0;
  const chunks = counting(chunksOf(Buffer.from('hello')), (taken) => (bytes += taken));
  assert.ok(isSeekable(chunks));
  await collect(chunks.from(3));
  await collect(chunks.from(1));
  await collect(chunks);
  assert.equal(bytes, 5);
});

test('counting makes no source seekable', async () => {
  let bytes = 0;
  const chunks = counting(piecesOf('he', 'llo'), (taken) => (bytes += taken));
  assert.ok(!isSeekable(chunks));
  await collect(chunks);
  assert.equal(bytes, 5);
});
