import assert from 'node:assert/strict';
import { closeSync, existsSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { chunksOf, collect } from '../../src/base/chunks.ts';
import { newId } from '../../src/base/id.ts';
import { Code } from '../../src/base/status.ts';
import {
  defaultLocalLogStreamsOptions,
  LocalLogStreams,
  type LocalLogStreamsOptions,
} from '../../src/logs/local-log-streams.ts';
import { logStreamsContract } from '../contract/log-streams.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { never } from '../support/never.ts';
import { tempDir } from '../support/temp-dir.ts';

async function open(t: TestContext, changes: Partial<LocalLogStreamsOptions> = {}) {
  const clock = new FakeClock();
  const folder = tempDir(t);
  const logs = await LocalLogStreams.open({
    ...defaultLocalLogStreamsOptions,
    folder,
    clock,
    newId,
    bytesMax: 2 ** 30,
    retentionMs: 60_000,
    ...changes,
  });
  t.after(() => logs.close());
  const put = async (text: string, isLast = true) => {
    const { name, writeName } = await logs.create('main');
    const write = { offset: 0, isLast: () => isLast };
    const written = logs.write(writeName, write, chunksOf(Buffer.from(text)), never);
    return { name, writeName, written };
  };
  const read = async (name: string) => {
    const bytes = await collect(logs.read(name, { offset: 0, limitBytes: 0 }, never));
    return Buffer.from(bytes).toString();
  };
  const gone = (name: string) => assert.rejects(read(name), { code: Code.NOT_FOUND });
  return { logs, clock, folder, put, read, gone };
}

logStreamsContract('LocalLogStreams in files', async (t) => (await open(t)).logs);
logStreamsContract(
  'LocalLogStreams in memory',
  async (t) => (await open(t, { folder: undefined })).logs,
);

test('a stream that was left is finished and forgotten even when its file cannot be closed', async (t) => {
  const { clock, folder, put, read, gone } = await open(t);
  const { name, written } = await put('hello', false);
  await written;
  const [file = ''] = readdirSync(folder);
  const fd = readdirSync('/proc/self/fd').find((one) => opened(one) === path.join(folder, file));
  closeSync(Number(fd));
  await clock.asleep(1);
  clock.advance(defaultLocalLogStreamsOptions.writerGraceMs);
  // From then on it is kept for its time, and the number of the descriptor may be taken by another file.
  await clock.asleep(1);
  assert.equal(await read(name), 'hello');
  clock.advance(60_000);
  await assertEmpty(folder);
  await gone(name);
});

function opened(fd: string): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return undefined;
  }
}

test('LOG-12: a finished stream is kept for its time, and then gone with its file', async (t) => {
  const { clock, folder, put, read, gone } = await open(t);
  const { name, written } = await put('hello');
  await written;
  await clock.asleep(1);
  clock.advance(59_999);
  assert.equal(await read(name), 'hello');
  clock.advance(1);
  await assertEmpty(folder);
  await gone(name);
});

test('LOG-12: a stream whose writer is lost is finished after a while', async (t) => {
  const { logs, clock, put, read } = await open(t);
  const { name, written } = await put('so far', false);
  await written;
  const reading = read(name);
  await clock.asleep(1);
  clock.advance(defaultLocalLogStreamsOptions.writerGraceMs);
  assert.equal(await reading, 'so far');
  const unwritten = await logs.create('main');
  const empty = read(unwritten.name);
  await clock.asleep(2);
  clock.advance(defaultLocalLogStreamsOptions.writerGraceMs);
  assert.equal(await empty, '');
});

test('a stream that is written is not finished, however long nothing comes', async (t) => {
  const { logs, clock } = await open(t);
  const { name, writeName } = await logs.create('main');
  const stop = new AbortController();
  const silent = Promise.withResolvers<never>();
  async function* nothing() {
    yield await silent.promise;
  }
  const write = { offset: 0, isLast: () => true };
  const written = logs.write(writeName, write, nothing(), stop.signal);
  clock.advance(86_400_000);
  assert.equal((await logs.status(name)).isFinished, false);
  stop.abort();
  await assert.rejects(written);
});

test('a stream ends at its limit, with what there was room for', async (t) => {
  const { logs, put, read } = await open(t, { streamBytesMax: 4 });
  const { name, written } = await put('hello', false);
  await assert.rejects(written, { code: Code.RESOURCE_EXHAUSTED, message: /more than 4 bytes/ });
  assert.equal(await read(name), 'hell');
  assert.deepEqual(await logs.status(name), { committedBytes: 4, isFinished: true });
});

test('finished streams make room, the oldest first, and others do not', async (t) => {
  const { put, read, gone } = await open(t, { bytesMax: 10 });
  const open1 = await put('aaaa', false);
  await open1.written;
  const first = await put('bbb');
  await first.written;
  const second = await put('ccc');
  await second.written;
  const third = await put('ddd');
  await third.written;
  await gone(first.name);
  assert.equal(await read(second.name), 'ccc');
  const large = await put('eeeeeeeee');
  await assert.rejects(large.written, { code: Code.RESOURCE_EXHAUSTED });
  assert.equal(await read(large.name), 'eeeeee');
  await gone(second.name);
  await gone(third.name);
});

test('there are only so many streams at once', async (t) => {
  const { logs, put, gone } = await open(t, { streamsMax: 2 });
  const first = await put('one');
  await first.written;
  await logs.create('main');
  await logs.create('main');
  await gone(first.name);
  await assert.rejects(logs.create('main'), { code: Code.RESOURCE_EXHAUSTED });
});

test('who reads a stream gets to its end, although it is forgotten meanwhile', async (t) => {
  const { logs, put } = await open(t);
  const text = 'x'.repeat(1 << 20);
  const { name, written } = await put(text);
  await written;
  const reader = logs.read(name, { offset: 0, limitBytes: 0 }, never)[Symbol.asyncIterator]();
  let sizeBytes = 0;
  for (let next = await reader.next(); next.done !== true; next = await reader.next()) {
    if (sizeBytes === 0) await logs.close();
    sizeBytes += next.value.length;
  }
  assert.equal(sizeBytes, text.length);
});

test('what an earlier process left is removed, and nothing else', async (t) => {
  const folder = tempDir(t);
  writeFileSync(path.join(folder, 'left.log'), 'x');
  writeFileSync(path.join(folder, 'other'), 'x');
  await open(t, { folder });
  assert.equal(existsSync(path.join(folder, 'left.log')), false);
  assert.equal(existsSync(path.join(folder, 'other')), true);
});

/** Files are removed behind a reader's back: this waits until that is done. */
async function assertEmpty(folder: string): Promise<void> {
  while (readdirSync(folder).length > 0) await new Promise(setImmediate);
}
