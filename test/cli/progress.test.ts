import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatDuration, formatSize, Progress } from '../../src/cli/progress.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeTerminal } from '../support/fake-terminal.ts';

test('progress is shown to who watches, ten times a second at most', () => {
  const terminal = new FakeTerminal(true);
  const clock = new FakeClock();
  const progress = new Progress('uploading', terminal, clock);
  clock.advance(1000);
  const half = { done: 1, all: 2, doneBytes: 1024, allBytes: 2048 };
  progress.show(half);
  clock.advance(50);
  progress.show(half);
  assert.deepEqual(terminal.progressLines, [
    'uploading [############            ] 1/2, 1.0 KiB of 2.0 KiB, 1.0 KiB/s',
  ]);
  clock.advance(50);
  progress.show(half);
  assert.equal(terminal.progressLines.length, 2);
});

test('nobody watches a pipe', () => {
  const terminal = new FakeTerminal(false);
  new Progress('x', terminal, new FakeClock()).show({ done: 1, all: 1, doneBytes: 1, allBytes: 1 });
  assert.deepEqual(terminal.progressLines, []);
});

test('sizes and durations are for people', () => {
  assert.deepEqual([0, 1023, 1536, 5 * 2 ** 30].map(formatSize), [
    '0 B',
    '1023 B',
    '1.5 KiB',
    '5.0 GiB',
  ]);
  const times = [3.2, 1_500, 61_900, 3_720_000];
  assert.deepEqual(times.map(formatDuration), ['3 ms', '1.5 s', '1 min 1 s', '1 h 2 min']);
});
