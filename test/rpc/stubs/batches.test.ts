import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code, StatusError } from '../../../src/base/status.ts';
import { Batches } from '../../../src/rpc/stubs/batches.ts';
import { never } from '../../support/never.ts';

/** Batches of numbers whose size is their value; each batch is held until it is let go. */
function held(limits: { sizeBytesMax?: number; itemsMax?: number; underWayMax?: number } = {}) {
  const sent: { items: readonly number[]; signal: AbortSignal; finish: () => void }[] = [];
  let notify: (() => void) | undefined;
  const batches = new Batches<number, string>({
    sizeBytesOf: (item) => item,
    sizeBytesMax: 100,
    itemsMax: 10,
    underWayMax: 2,
    ...limits,
    send: (items, signal) =>
      new Promise((resolve) => {
        const answers = items.map((item) =>
          item === 13 ? new StatusError(Code.NOT_FOUND, 'no 13') : `answer ${item}`,
        );
        sent.push({ items, signal, finish: () => resolve(answers) });
        notify?.();
      }),
  });
  /** Resolves once so many batches have been sent in all. */
  const sentOf = async (count: number) => {
    while (sent.length < count) {
      await new Promise<void>((resolve) => {
        notify = resolve;
      });
    }
  };
  return { batches, sent, sentOf };
}

test('what arrives in one turn is sent together', async () => {
  const { batches, sent, sentOf } = held();
  const answers = [1, 2, 3].map((item) => batches.add(item, never));
  await sentOf(1);
  assert.deepEqual(sent[0]?.items, [1, 2, 3]);
  sent[0]?.finish();
  assert.deepEqual(await Promise.all(answers), ['answer 1', 'answer 2', 'answer 3']);
});

test('a batch has no more bytes and items than allowed, but at least one', async () => {
  const { batches, sent, sentOf } = held({ itemsMax: 3, underWayMax: 9 });
  const items = [60, 40, 1, 500, 1, 1, 1, 1];
  const answers = items.map((item) => batches.add(item, never));
  await sentOf(4);
  assert.deepEqual(
    sent.map((batch) => batch.items),
    [[60, 40], [1], [500], [1, 1, 1], [1]].slice(0, sent.length),
  );
  await sentOf(5);
  for (const batch of sent) batch.finish();
  await Promise.all(answers);
});

test('what comes while enough batches are under way gathers in the next', async () => {
  const { batches, sent, sentOf } = held({ underWayMax: 1 });
  const answers = [batches.add(1, never)];
  await sentOf(1);
  answers.push(batches.add(2, never));
  answers.push(batches.add(3, never));
  sent[0]?.finish();
  await sentOf(2);
  assert.deepEqual(sent[1]?.items, [2, 3]);
  sent[1]?.finish();
  await Promise.all(answers);
});

test('an error of one item is told to that one alone', async () => {
  const { batches, sent, sentOf } = held();
  const outcomes = Promise.allSettled([12, 13, 14].map((item) => batches.add(item, never)));
  await sentOf(1);
  sent[0]?.finish();
  assert.deepEqual(
    (await outcomes).map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
});

test('an abort frees its caller at once, and the batch once nobody waits for it', async () => {
  const { batches, sent, sentOf } = held();
  const [first, second] = [new AbortController(), new AbortController()];
  const answers = [batches.add(1, first.signal), batches.add(2, second.signal)];
  const outcomes = Promise.allSettled(answers);
  await sentOf(1);
  first.abort();
  await assert.rejects(answers[0] as Promise<string>, { code: Code.CANCELLED });
  assert.equal(sent[0]?.signal.aborted, false);
  second.abort();
  assert.equal(sent[0]?.signal.aborted, true);
  await outcomes;
});

test('what is aborted before it is sent is not sent', async () => {
  const { batches, sent, sentOf } = held();
  const aborting = new AbortController();
  const aborted = batches.add(1, aborting.signal);
  const kept = batches.add(2, never);
  aborting.abort();
  await assert.rejects(aborted);
  await assert.rejects(batches.add(3, AbortSignal.abort()));
  await sentOf(1);
  assert.deepEqual(sent[0]?.items, [2]);
  sent[0]?.finish();
  await kept;
});
