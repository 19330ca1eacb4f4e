import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code, StatusError } from '../../../src/base/status.ts';
import { RetryInfo } from '../../../src/proto/google/rpc/error_details.ts';
import {
  Backoff,
  defaultRetryOptions,
  type RetryPolicy,
  withRetries,
} from '../../../src/rpc/stubs/retries.ts';
import { never } from '../../support/never.ts';

/** A policy whose clock does not wait but notes how long it should have. */
function noting(random: number): { readonly policy: RetryPolicy; readonly slept: number[] } {
  const slept: number[] = [];
  const clock = { now: () => 0, sleep: async (ms: number) => void slept.push(ms) };
  return { policy: { ...defaultRetryOptions, clock, random: () => random }, slept };
}

const unavailable = new StatusError(Code.UNAVAILABLE, 'not now');

function asking(seconds: number, nanos = 0): StatusError {
  const value = RetryInfo.encode(
    RetryInfo.fromPartial({ retryDelay: { seconds, nanos } }),
  ).finish();
  const details = [{ typeUrl: 'type.googleapis.com/google.rpc.RetryInfo', value }];
  return new StatusError(Code.RESOURCE_EXHAUSTED, 'later', { details });
}

/** An attempt that fails with each of the errors in turn, then succeeds. */
function failing(...errors: Error[]): () => Promise<string> {
  return async () => {
    const error = errors.shift();
    if (error) throw error;
    return 'done';
  };
}

test('ERR-01: UNAVAILABLE is tried again, after twice as long each time', async () => {
  const { policy, slept } = noting(1);
  const attempt = failing(unavailable, unavailable, unavailable, unavailable);
  assert.equal(await withRetries(policy, attempt, never), 'done');
  assert.deepEqual(slept, [100, 200, 400, 800]);
});

test('pauses are any part of their bound, so that clients do not come back all at once', async () => {
  const { policy, slept } = noting(0.25);
  await withRetries(policy, failing(unavailable, unavailable), never);
  assert.deepEqual(slept, [25, 50]);
});

test('pauses have an upper bound', async () => {
  const { policy, slept } = noting(1);
  const many = Array.from({ length: 9 }, () => unavailable);
  await withRetries({ ...policy, attemptsMax: 10 }, failing(...many), never);
  assert.deepEqual(slept.slice(-3), [5000, 5000, 5000]);
});

test('after the last attempt the error is told', async () => {
  const { policy, slept } = noting(1);
  const many = Array.from({ length: 5 }, () => unavailable);
  await assert.rejects(withRetries(policy, failing(...many), never), unavailable);
  assert.equal(slept.length, 4);
});

for (const [ids, code] of [
  ['ERR-03, BS-41', Code.INVALID_ARGUMENT],
  ['ERR-03', Code.NOT_FOUND],
  ['ERR-03', Code.RESOURCE_EXHAUSTED],
] as const) {
  test(`${ids}: code ${code} is not tried again`, async () => {
    const { policy, slept } = noting(1);
    await assert.rejects(withRetries(policy, failing(new StatusError(code, 'no')), never), {
      code,
    });
    assert.deepEqual(slept, []);
  });
}

test('CLI-12: a pause is at least as long as the server asks', async () => {
  const { policy, slept } = noting(0.5);
  assert.equal(await withRetries(policy, failing(asking(2, 5e8)), never), 'done');
  assert.deepEqual(slept, [2550]);
});

test('a server that asks for too long is not waited for', async () => {
  const { policy } = noting(0.5);
  await assert.rejects(withRetries(policy, failing(asking(3600)), never), { message: 'later' });
});

test('an abort ends the attempts', async () => {
  const { policy } = noting(1);
  await assert.rejects(withRetries(policy, failing(unavailable), AbortSignal.abort()), unavailable);
});

test('progress counts attempts from the start', async () => {
  const { policy, slept } = noting(1);
  const backoff = new Backoff(policy);
  for (let n = 0; n < 20; n++) {
    await backoff.pause(unavailable, never);
    backoff.reset();
  }
  assert.ok(slept.every((ms) => ms === 100));
});
