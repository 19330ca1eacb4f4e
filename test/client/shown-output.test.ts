import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { type Chunks, chunksOf } from '../../src/base/chunks.ts';
import { Code, StatusError } from '../../src/base/status.ts';
import { ShownOutput } from '../../src/client/shown-output.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import { idOfLogName } from '../../src/logs/log-name.ts';
import type { LogStreams } from '../../src/logs/log-streams.ts';
import {
  ActionResult,
  ExecuteOperationMetadata,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { blobOf } from '../support/blob-of.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { PlainBlobStore } from '../support/memory-blob-store.ts';
import { memoryLogStreams } from '../support/memory-log-streams.ts';
import { never } from '../support/never.ts';

async function* broken(): Chunks {
  yield Buffer.from('o');
  throw new StatusError(Code.NOT_FOUND, 'the server was started anew');
}

async function bench(t: TestContext) {
  const real = await memoryLogStreams(t);
  const blobs = new PlainBlobStore();
  const clock = new FakeClock();
  const differences: string[] = [];
  let text = '';
  let changed = Promise.withResolvers<void>();
  const make = (changes: Partial<LogStreams> = {}) =>
    new ShownOutput({
      logs: {
        create: (parent) => real.create(parent),
        write: (...rest) => real.write(...rest),
        status: (name) => real.status(name),
        read: (...rest) => real.read(...rest),
        ...changes,
      },
      blobs,
      instanceName: 'main',
      clock,
      stdout: async (bytes) => {
        text += Buffer.from(bytes).toString();
        changed.resolve();
        changed = Promise.withResolvers();
      },
      stderr: async () => {},
      onDifference: (name) => differences.push(name),
    });
  /** A stream with some bytes; what an operation tells of it. */
  const stream = async (said: string, isLast = false) => {
    const { name, writeName } = await real.create('main');
    const write = { offset: 0, isLast: () => isLast };
    await real.write(writeName, write, chunksOf(Buffer.from(said)), never);
    return ExecuteOperationMetadata.fromPartial({ stdoutStreamName: idOfLogName(name) });
  };
  const resultOf = async (said: string) => {
    const { digest, bytes } = blobOf(said);
    await blobs.write(digest, chunksOf(bytes), never);
    return ActionResult.fromPartial({ stdoutDigest: digest.toMessage() });
  };
  const shown = async (expected: string) => {
    for (;;) {
      if (text === expected) return;
      await changed.promise;
    }
  };
  return { make, stream, resultOf, shown, text: () => text, clock, differences };
}

test('RCL-08: the result adds what the stream has not given', async (t) => {
  const { make, stream, resultOf, shown, text } = await bench(t);
  const output = make();
  output.follow(await stream('one '));
  await shown('one ');
  await output.finish(await resultOf('one two'), false, sha256, never);
  assert.equal(text(), 'one two');
});

test('output that is in the result itself is not shown twice', async (t) => {
  const { make, stream, shown, text } = await bench(t);
  const output = make();
  output.follow(await stream('one '));
  await shown('one ');
  const result = ActionResult.fromPartial({ stdoutRaw: Buffer.from('one two') });
  await output.finish(result, false, sha256, never);
  assert.equal(text(), 'one two');
});

test('without streams, or with broken ones, the result is shown', async (t) => {
  const { make, stream, resultOf, text } = await bench(t);
  const output = make({ read: broken });
  output.follow(await stream('one'));
  await output.finish(await resultOf('one'), false, sha256, never);
  assert.equal(text(), 'one');
  await make().finish(await resultOf(' two'), false, sha256, never);
  assert.equal(text(), 'one two');
});

test('another attempt goes on where the lost one was', async (t) => {
  const { make, stream, resultOf, shown, text, differences } = await bench(t);
  const output = make();
  output.follow(await stream('one '));
  await shown('one ');
  output.follow(ExecuteOperationMetadata.fromPartial({}));
  output.follow(await stream('one two '));
  await shown('one two ');
  await output.finish(await resultOf('one two three'), false, sha256, never);
  assert.equal(text(), 'one two three');
  assert.deepEqual(differences, []);
});

for (const [how, final] of [
  ['something else', 'ONE two'],
  ['less', 'on'],
] as const) {
  test(`an attempt that printed ${how} than the lost one is told of`, async (t) => {
    const { make, stream, resultOf, shown, text, differences } = await bench(t);
    const output = make();
    output.follow(await stream('one '));
    await shown('one ');
    output.follow(ExecuteOperationMetadata.fromPartial({}));
    await output.finish(await resultOf(final), false, sha256, never);
    assert.equal(text(), 'one ');
    assert.deepEqual(differences, ['stdout']);
  });
}

test('what a cancelled action printed at last is waited for, but not for ever', async (t) => {
  const { make, stream, text, clock } = await bench(t);
  const ended = make();
  ended.follow(await stream('last words', true));
  await ended.finish(undefined, true, sha256, never);
  assert.equal(text(), 'last words');
  const open = make();
  open.follow(await stream(' and more'));
  const finished = open.finish(ActionResult.fromPartial({}), true, sha256, never);
  await clock.asleep(1);
  await setImmediate();
  clock.advance(20_000);
  await finished;
});

test('what is there now is shown at once', async (t) => {
  const { make, stream, text } = await bench(t);
  const output = make();
  await output.catchUp(await stream('so far'), never);
  assert.equal(text(), 'so far');
  await output.catchUp(ExecuteOperationMetadata.fromPartial({}), never);
});
