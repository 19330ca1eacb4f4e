import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OriginFetches } from '../../src/asset/origin-fetches.ts';
import { aborted } from '../../src/base/aborted.ts';
import { Code } from '../../src/base/status.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { never } from '../support/never.ts';

const times = { timeoutMs: 1000, notBefore: -Infinity };

/** Never done by itself. */
async function endless(signal: AbortSignal): Promise<string> {
  await aborted(signal);
  throw signal.reason as Error;
}

test('more fetches than are allowed at once wait, and more than are accepted are UNAVAILABLE', async () => {
  const clock = new FakeClock();
  const fetches = new OriginFetches<string>(clock, { atOnceMax: 1, acceptedMax: 2 });
  const first = Promise.withResolvers<string>();
  const started: string[] = [];
  const fetch = (name: string, result: () => Promise<string>) =>
    fetches.run(
      name,
      times,
      () => {
        started.push(name);
        return result();
      },
      never,
    );
  const one = fetch('one', () => first.promise);
  const two = fetch('two', async () => '2');
  assert.throws(() => void fetch('three', async () => '3'), { code: Code.UNAVAILABLE });
  first.resolve('1');
  assert.deepEqual(await Promise.all([one, two]), ['1', '2']);
  assert.deepEqual(started, ['one', 'two']);
  assert.equal(await fetch('three', async () => '3'), '3');
});

test('AST-14: the timeout counts from when a fetch was asked for, its wait included', async () => {
  const clock = new FakeClock();
  const fetches = new OriginFetches<string>(clock, { atOnceMax: 1, acceptedMax: 10 });
  const late = { name: 'OriginFailure', code: Code.DEADLINE_EXCEEDED };
  const running = assert.rejects(fetches.run('running', times, endless, never), late);
  const waiting = assert.rejects(fetches.run('waiting', times, endless, never), late);
  await clock.asleep(2);
  clock.advance(1000);
  await Promise.all([running, waiting]);
});

test('AST-13, AST-16: one that began too early is not shared', async () => {
  const clock = new FakeClock();
  const fetches = new OriginFetches<string>(clock);
  const begun = Promise.withResolvers<string>();
  const early = fetches.run('same', times, () => begun.promise, never);
  const shared = fetches.run('same', times, async () => 'not shared', never);
  clock.advance(1);
  const notBefore = clock.now();
  const fresh = fetches.run('same', { ...times, notBefore }, async () => 'fresh', never);
  begun.resolve('early');
  assert.deepEqual(await Promise.all([early, shared, fresh]), ['early', 'early', 'fresh']);
});

test('closing ends what is under way', async () => {
  const fetches = new OriginFetches<string>(new FakeClock());
  const running = assert.rejects(fetches.run('one', times, endless, never), {
    code: Code.UNAVAILABLE,
  });
  await fetches.close();
  await running;
  assert.throws(() => void fetches.run('two', times, endless, never), { code: Code.UNAVAILABLE });
});
