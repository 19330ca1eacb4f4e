import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { UploadChannel } from '../../src/cas/upload-channel.ts';

const KiB = 1024;

/** The lengths of the chunks the store has got so far; it takes each at once. */
function takeAll(channel: UploadChannel): { readonly lengths: number[]; readonly all: Buffer[] } {
  const lengths: number[] = [];
  const all: Buffer[] = [];
  void (async () => {
    for await (const chunk of channel.chunks()) {
      lengths.push(chunk.length);
      all.push(Buffer.from(chunk));
    }
  })();
  return { lengths, all };
}

test('gathers small chunks, in order, and hands on the rest at the end', async () => {
  const channel = new UploadChannel(1000 * KiB);
  const taken = takeAll(channel);
  const sent = Array.from({ length: 40 }, (_, i) => Buffer.alloc(16 * KiB, i));
  for (const chunk of sent) {
    await channel.waitForRoom();
    channel.put(chunk);
  }
  await channel.waitForRoom();
  assert.deepEqual(taken.lengths, [256 * KiB, 256 * KiB]);
  channel.end();
  await setImmediate();
  assert.deepEqual(taken.lengths, [256 * KiB, 256 * KiB, 128 * KiB]);
  assert.ok(Buffer.concat(taken.all).equals(Buffer.concat(sent)));
  assert.equal(channel.acceptedBytes, 640 * KiB);
});

test('has no room while the store has not taken what was gathered', () => {
  const channel = new UploadChannel(1000 * KiB);
  channel.put(Buffer.alloc(255 * KiB));
  assert.equal(channel.hasRoom, true);
  channel.put(Buffer.alloc(KiB));
  assert.equal(channel.hasRoom, false);
});

test('hands on the last byte of the blob, and one too many, without waiting for the end', async () => {
  const channel = new UploadChannel(10);
  const taken = takeAll(channel);
  for (const length of [9, 1, 1]) {
    await channel.waitForRoom();
    channel.put(Buffer.alloc(length));
  }
  await setImmediate();
  assert.deepEqual(taken.lengths, [10, 1]);
});

test('hands on tiny chunks before they take more memory than they carry', async () => {
  const channel = new UploadChannel(1000 * KiB);
  const taken = takeAll(channel);
  for (let i = 0; i < 100; i++) {
    await channel.waitForRoom();
    channel.put(Buffer.alloc(1));
  }
  assert.deepEqual(taken.lengths, [64]);
});
