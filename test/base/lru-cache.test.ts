import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LruCache } from '../../src/base/lru-cache.ts';

test('forgets what was used longest ago when there is no more room', () => {
  const cache = new LruCache<number>(3);
  cache.set('a', 1, 1);
  cache.set('b', 2, 1);
  cache.set('c', 3, 1);
  assert.equal(cache.find('a'), 1);
  cache.set('d', 4, 2);
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].map((key) => cache.find(key)),
    [1, undefined, undefined, 4],
  );
});

test('keeps the latest value of a key and counts it once', () => {
  const cache = new LruCache<number>(3);
  cache.set('a', 1, 2);
  cache.set('a', 2, 2);
  cache.set('b', 3, 1);
  assert.equal(cache.find('a'), 2);
  assert.equal(cache.find('b'), 3);
});

test('does not keep what is larger than all its room, nor an earlier value in its place', () => {
  const cache = new LruCache<number>(3);
  cache.set('a', 1, 1);
  cache.set('b', 2, 1);
  cache.set('b', 3, 4);
  assert.equal(cache.find('a'), 1);
  assert.equal(cache.find('b'), undefined);
});
