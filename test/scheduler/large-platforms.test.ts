import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { requestOf, Rig } from './rig.ts';

test('an action with more platform properties than a worker may offer is refused', () => {
  const { scheduler } = new Rig();
  const properties = { pool: 'x'.repeat(64 * 1024) };
  assert.throws(() => scheduler.enqueue(requestOf('a', { properties })), {
    code: Code.INVALID_ARGUMENT,
    message: /platform properties of action .* have 65540 characters, .* name fewer/,
  });
  assert.equal(scheduler.queuedCount, 0);
});

test('actions wait until the platform properties of all that are kept leave room', () => {
  const rig = new Rig({ platformCharsSumMax: 100 });
  const properties = { pool: 'x'.repeat(40) };
  const worker = rig.worker('w', { properties });
  for (const action of ['a', 'b']) rig.enqueue(requestOf(action, { properties }));
  const enqueue = () => rig.enqueue(requestOf('c', { properties }));
  assert.throws(enqueue, {
    code: Code.RESOURCE_EXHAUSTED,
    message:
      /^88 characters of platform properties are kept, which is the limit; action .* may come back/,
  });
  // One that joins takes nothing.
  rig.enqueue(requestOf('a', { properties }));
  worker.run();
  worker.finish();
  rig.commitAll();
  enqueue();
});

test('SC-24: why an action waits is told in words that a client takes, however much it asks for', () => {
  const rig = new Rig();
  rig.worker('w', { properties: { pool: 'y'.repeat(60_000) } });
  const name = rig.enqueue(requestOf('a', { properties: { pool: 'x'.repeat(60_000) } }));
  const reason = rig.waitingReason(name) ?? '';
  assert.match(reason, /^no worker has pool=x+…$/);
  assert.ok(reason.length < 10_000, `${reason.length}`);
});
