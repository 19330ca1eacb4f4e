import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requestOf, Rig } from './rig.ts';

function diskFull(): never {
  throw new Error('disk full');
}

test('what came and went while nothing could be written takes no room, and is not written later', () => {
  const { scheduler, rows } = new Rig();
  const name = scheduler.enqueue(requestOf('a'));
  assert.throws(() => scheduler.flush(diskFull), /disk full/);
  scheduler.cancel(name);
  scheduler.delete(name);
  scheduler.flush((changes) => assert.fail(JSON.stringify(changes)));
  assert.deepEqual(rows.load().runs, []);
});

test('what was written and ended while nothing could be written is forgotten later', () => {
  const rig = new Rig();
  const { scheduler, rows } = rig;
  const name = rig.enqueue(requestOf('a'));
  assert.equal(rows.load().runs.length, 1);
  scheduler.cancel(name);
  scheduler.delete(name);
  rig.settle();
  const { runs, operations } = rows.load();
  assert.deepEqual([...runs, ...operations], []);
});
