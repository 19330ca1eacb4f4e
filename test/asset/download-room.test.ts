import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DownloadRoom } from '../../src/asset/download-room.ts';
import { Code } from '../../src/base/status.ts';

const noRoom = { code: Code.RESOURCE_EXHAUSTED };

test('downloads take their room together, and give it back', () => {
  const room = new DownloadRoom(100);
  const [one, other] = [room.share(), room.share()];
  one.growTo(60);
  assert.throws(() => other.growTo(41), noRoom);
  other.growTo(40);
  one.growTo(60);
  assert.throws(() => one.growTo(61), noRoom);
  one.end();
  other.growTo(100);
});

test('a look at the size that ends after its download takes no room for good', () => {
  const room = new DownloadRoom(100);
  const late = room.share();
  late.growTo(60);
  late.end();
  late.growTo(80);
  room.share().growTo(100);
});
