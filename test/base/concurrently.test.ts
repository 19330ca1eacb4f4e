import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { concurrently } from '../../src/base/concurrently.ts';
import { never } from '../support/never.ts';

test('every item is worked on once, no more than so many at a time', async () => {
  const done: number[] = [];
  let running = 0;
  let most = 0;
  const work = async (item: number) => {
    most = Math.max(most, ++running);
    await turn();
    running--;
    done.push(item);
  };
  await concurrently([1, 2, 3, 4, 5, 6, 7], 3, work, never);
  assert.deepEqual(
    done.toSorted((a, b) => a - b),
    [1, 2, 3, 4, 5, 6, 7],
  );
  assert.equal(most, 3);
});

test('a failure starts no more items, and waits for those that run', async () => {
  const started: number[] = [];
  let ended = 0;
  const work = async (item: number, signal: AbortSignal) => {
    started.push(item);
    if (item === 2) throw new Error('two');
    await turn();
    assert.ok(signal.aborted);
    ended++;
  };
  await assert.rejects(concurrently([1, 2, 3, 4, 5], 2, work, never), /two/);
  assert.deepEqual(started, [1, 2]);
  assert.equal(ended, 1);
});

function* twoAndNoMore() {
  yield* [1, 2];
  throw new Error('no third');
}

test('items that can be made no longer end it, once those that run have ended', async () => {
  for (const atOnceMax of [1, 2, 3]) {
    let ended = 0;
    const work = async () => {
      await turn();
      ended++;
    };
    await assert.rejects(concurrently(twoAndNoMore(), atOnceMax, work, never), /no third/);
    assert.equal(ended, 2);
  }
});

test('nothing starts once the signal has aborted', async () => {
  const aborted = AbortSignal.abort();
  const started = concurrently([1], 2, async () => assert.fail('started'), aborted);
  await assert.rejects(started, { name: 'AbortError' });
});
