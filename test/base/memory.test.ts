import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeldMemory, heapBytesMax, holdMemory, withHeldMemory } from '../../src/base/memory.ts';
import { Code } from '../../src/base/status.ts';

const quarter = Math.floor(heapBytesMax / 4);
const third = Math.floor(heapBytesMax / 3);

const within = async () => {
  holdMemory(third - quarter);
  await withHeldMemory(async () => holdMemory(quarter - 1));
  await withHeldMemory(async () => holdMemory(quarter - 1));
  await assert.rejects(
    withHeldMemory(async () => holdMemory(quarter + 1)),
    { code: Code.INVALID_ARGUMENT },
  );
  return 'done';
};

test('one holds a quarter of the heap at most, all together a third of it, or half with small ones', () => {
  const [first, second, last] = [new HeldMemory(), new HeldMemory(), new HeldMemory()];
  first.add(quarter - 1);
  assert.throws(() => first.add(2), { code: Code.INVALID_ARGUMENT });
  second.add(third - quarter);
  assert.throws(() => last.add(100_000), { code: Code.UNAVAILABLE });
  last.add(1000);
  first.release();
  last.add(100_000);
  first.add(1);
  for (const held of [first, second, last]) held.close();
  const other = new HeldMemory();
  other.add(quarter);
  other.close();
});

test('what is counted within some work is held until it has ended', async () => {
  assert.equal(await withHeldMemory(within), 'done');
  assert.equal(await withHeldMemory(within), 'done');
});

test('work that outlives its call counts no more', async () => {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  let late: Promise<void> | undefined;
  await withHeldMemory(async () => {
    late = promise.then(() => holdMemory(2 * quarter));
  });
  resolve(undefined);
  await late;
});
