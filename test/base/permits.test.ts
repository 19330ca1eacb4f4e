import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Permits } from '../../src/base/permits.ts';
import { never } from '../support/never.ts';

function startable() {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { work: () => promise, finish: resolve };
}

test('no more than the permits allow work together; the others follow in order', async () => {
  const permits = new Permits(2);
  const started: number[] = [];
  const works = [0, 1, 2, 3].map(() => startable());
  const holding = works.map(({ work }, index) =>
    permits.hold(async () => {
      started.push(index);
      await work();
    }, never),
  );
  await Promise.resolve();
  assert.deepEqual(started, [0, 1]);
  works[1]?.finish();
  await holding[1];
  for (const { finish } of works) finish();
  await Promise.all(holding);
  assert.deepEqual(started, [0, 1, 2, 3]);
});

test('work that fails gives its permit back', async () => {
  const permits = new Permits(1);
  await assert.rejects(
    permits.hold(() => Promise.reject(new Error('failed')), never),
    /failed/,
  );
  assert.equal(await permits.hold(async () => 'next', never), 'next');
});

test('who gives up waiting takes no permit with it', async () => {
  const permits = new Permits(1);
  const first = startable();
  const holding = permits.hold(first.work, never);
  const gone = new AbortController();
  const waiting = permits.hold(() => Promise.reject(new Error('must not run')), gone.signal);
  gone.abort();
  await assert.rejects(waiting, { name: 'AbortError' });
  first.finish();
  await holding;
  assert.equal(await permits.hold(async () => 'next', never), 'next');
  await assert.rejects(permits.hold(first.work, gone.signal), { name: 'AbortError' });
});

test('work that needs many permits gets them in its turn, and those behind it wait', async () => {
  const permits = new Permits(3);
  const started: string[] = [];
  const works = [startable(), startable(), startable()] as const;
  const hold = (name: string, { work }: { work: () => Promise<void> }, count: number) =>
    permits.hold(
      () => {
        started.push(name);
        return work();
      },
      never,
      count,
    );
  const small = hold('small', works[0], 1);
  const large = hold('large', works[1], 3);
  const later = hold('later', works[2], 1);
  await Promise.resolve();
  assert.deepEqual(started, ['small']);
  works[0].finish();
  await small;
  await setImmediate();
  assert.deepEqual(started, ['small', 'large']);
  works[1].finish();
  works[2].finish();
  await Promise.all([large, later]);
  assert.deepEqual(started, ['small', 'large', 'later']);
});

test('who gives up waiting for many lets those behind it go on', async () => {
  const permits = new Permits(2);
  const first = startable();
  const holding = permits.hold(first.work, never);
  const gone = new AbortController();
  const many = permits.hold(() => Promise.reject(new Error('must not run')), gone.signal, 2);
  const one = permits.hold(async () => 'one', never);
  gone.abort();
  await assert.rejects(many, { name: 'AbortError' });
  assert.equal(await one, 'one');
  first.finish();
  await holding;
});
