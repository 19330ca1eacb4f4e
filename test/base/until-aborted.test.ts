import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Chunks } from '../../src/base/chunks.ts';
import { orAborted, untilAborted } from '../../src/base/until-aborted.ts';
import { never } from '../support/never.ts';
import { hanging, piecesOf } from '../support/sources.ts';

test('passes chunks on', async () => {
  const chunks = await Array.fromAsync(untilAborted(piecesOf('a', 'b'), never, never));
  assert.deepEqual(chunks.map(String), ['a', 'b']);
});

test('fails with the reason of the signal that aborts, even when the source hangs', async () => {
  const aborting = new AbortController();
  const next = untilAborted(hanging(), never, aborting.signal)[Symbol.asyncIterator]().next();
  const reason = new Error('enough');
  aborting.abort(reason);
  await assert.rejects(next, reason);
});

test('tells a source that it was left early', async () => {
  let left = false;
  async function* source(): Chunks {
    try {
      yield Buffer.from('a');
      yield Buffer.from('b');
    } finally {
      left = true;
    }
  }
  for await (const chunk of untilAborted(source(), never)) {
    assert.equal(String(chunk), 'a');
    break;
  }
  await Promise.resolve();
  assert.ok(left);
});

test('a promise is waited for until a signal aborts', async () => {
  assert.equal(await orAborted(Promise.resolve(1), never), 1);
  await assert.rejects(orAborted(Promise.reject(new Error('its own')), never), /its own/);
  const pending = new Promise<never>(() => {});
  await assert.rejects(orAborted(pending, never, AbortSignal.abort(new Error('late'))), /late/);
});
