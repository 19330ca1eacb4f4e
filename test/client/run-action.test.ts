import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chunksOf } from '../../src/base/chunks.ts';
import { Code, StatusError } from '../../src/base/status.ts';
import { runAction, type RunEvents } from '../../src/client/run-action.ts';
import type { Execution } from '../../src/execution/execution.ts';
import {
  ExecuteOperationMetadata,
  ExecuteResponse,
  ExecutionStage_Value,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { missingBlobs } from '../../src/tree/missing-blobs.ts';
import { blobOf } from '../support/blob-of.ts';
import { PlainBlobStore } from '../support/memory-blob-store.ts';
import { never } from '../support/never.ts';

const input = blobOf('input');
const action = blobOf('action');
const sources = [input, action].map(({ digest, bytes }) => ({
  digest,
  open: () => chunksOf(bytes),
}));
const options = {
  instanceName: 'main',
  action: action.digest,
  sources,
  skipCacheLookup: false,
  priority: 0,
};
const quiet: RunEvents = {
  uploading: () => {},
  state: () => {},
  postponed: () => {},
  uploadingAgain: () => {},
};
const finished = ExecuteResponse.fromPartial({ result: { exitCode: 3 }, cachedResult: true });
const state = (response?: ExecuteResponse) => ({
  name: 'op-1',
  instanceName: 'main',
  metadata: ExecuteOperationMetadata.fromPartial({ stage: response ? 4 : 3 }),
  response,
});

/** Answers each Execute with the next response, and remembers what was cancelled. */
class ScriptedExecution implements Execution {
  readonly cancelled: string[] = [];
  readonly #answers: (() => ExecuteResponse)[];
  executed = 0;

  constructor(...answers: (() => ExecuteResponse)[]) {
    this.#answers = answers;
  }

  async *execute() {
    this.executed += 1;
    yield state();
    const answer = this.#answers.shift();
    if (answer) yield state(answer());
  }

  wait() {
    return this.execute();
  }

  async cancel(name: string) {
    this.cancelled.push(name);
  }
}

test('what the server lacks is uploaded before the action runs', async () => {
  const blobs = new PlainBlobStore();
  const stages: number[] = [];
  const execution = new ScriptedExecution(() => {
    assert.equal(blobs.blobs.size, 2);
    return finished;
  });
  const events = {
    ...quiet,
    state: ({ stage }: ExecuteOperationMetadata) => void stages.push(stage),
  };
  const outcome = await runAction({ blobs, execution }, options, events, never);
  assert.ok(outcome.kind === 'finished');
  assert.equal(outcome.result.exitCode, 3);
  assert.equal(outcome.isCached, true);
  assert.deepEqual(stages, [3, 4]);
});

test('EXE-37: an action that a server starts twice has one result', async () => {
  const stages: number[] = [];
  const { QUEUED, EXECUTING, COMPLETED } = ExecutionStage_Value;
  const execution: Execution = {
    async *execute() {
      for (const stage of [QUEUED, EXECUTING, QUEUED, EXECUTING, EXECUTING]) {
        yield { ...state(), metadata: ExecuteOperationMetadata.fromPartial({ stage }) };
      }
      yield state(finished);
      assert.fail('nothing is read after the result');
    },
    wait: () => execution.execute(options as never, never),
    cancel: async () => assert.fail('a done operation is not cancelled'),
  };
  const events = {
    ...quiet,
    state: ({ stage }: ExecuteOperationMetadata) => void stages.push(stage),
  };
  const ports = { blobs: new PlainBlobStore(), execution };
  const outcome = await runAction(ports, options, events, never);
  assert.ok(outcome.kind === 'finished');
  assert.equal(outcome.result.exitCode, 3);
  assert.deepEqual([stages[0], stages.at(-1)], [QUEUED, COMPLETED]);
});

const lost = missingBlobs([input.digest]);
const lostStatus = () =>
  ExecuteResponse.fromPartial({
    status: { code: lost.code, message: lost.message, details: [...lost.details] },
  });
const lostThrown = (): never => {
  throw lost;
};

for (const [form, fail] of [
  ['in the response', lostStatus],
  ['as the error of the call', lostThrown],
] as const) {
  test(`CLI-11: inputs that went missing, told ${form}, are uploaded and the action runs`, async () => {
    const blobs = new PlainBlobStore();
    const evict = () => {
      blobs.blobs.delete(input.digest.key);
      return fail();
    };
    const execution = new ScriptedExecution(evict, () => {
      assert.ok(blobs.blobs.has(input.digest.key));
      return finished;
    });
    const outcome = await runAction({ blobs, execution }, options, quiet, never);
    assert.equal(outcome.kind, 'finished');
  });
}

test('CLI-11: the third failure in a row ends it', async () => {
  const execution = new ScriptedExecution(lostStatus, lostStatus, lostStatus, lostStatus);
  const outcome = await runAction(
    { blobs: new PlainBlobStore(), execution },
    options,
    quiet,
    never,
  );
  assert.ok(outcome.kind === 'unfinished');
  assert.equal(outcome.error.code, Code.FAILED_PRECONDITION);
  assert.equal(execution.executed, 3);
});

test('CLI-11: an input that is not at hand is not waited for', async () => {
  const execution = new ScriptedExecution(lostStatus);
  const ports = { blobs: new PlainBlobStore(), execution };
  const outcome = await runAction(ports, { ...options, sources: [] }, quiet, never);
  assert.equal(outcome.kind, 'unfinished');
});

test('an error whose list of missing blobs cannot be read is told as it is', async () => {
  const typeUrl = lost.details[0]?.typeUrl ?? '';
  const garbled = () =>
    ExecuteResponse.fromPartial({
      status: { code: lost.code, message: 'lost', details: [{ typeUrl, value: Buffer.of(0x0a) }] },
    });
  const ports = { blobs: new PlainBlobStore(), execution: new ScriptedExecution(garbled) };
  const outcome = await runAction(ports, options, quiet, never);
  assert.ok(outcome.kind === 'unfinished');
  assert.equal(outcome.error.message, 'lost');
});

test('an action that did not finish is told with its code and message', async () => {
  const response = ExecuteResponse.fromPartial({
    status: { code: Code.DEADLINE_EXCEEDED, message: 'execution timeout exceeded' },
    message: 'after 1 s',
    result: { stdoutRaw: Buffer.from('so far') },
  });
  const execution = new ScriptedExecution(() => response);
  const outcome = await runAction(
    { blobs: new PlainBlobStore(), execution },
    options,
    quiet,
    never,
  );
  assert.ok(outcome.kind === 'unfinished');
  assert.equal(outcome.error.code, Code.DEADLINE_EXCEEDED);
  assert.equal(outcome.error.message, 'execution timeout exceeded: after 1 s');
  assert.equal(Buffer.from(outcome.result?.stdoutRaw ?? []).toString(), 'so far');
});

test('a stream that ends early is no result', async () => {
  const ports = { blobs: new PlainBlobStore(), execution: new ScriptedExecution() };
  await assert.rejects(runAction(ports, options, quiet, never), { code: Code.UNAVAILABLE });
});

test('CLI-13: leaving cancels the operation', async () => {
  const leaving = new AbortController();
  const execution = new ScriptedExecution(() => {
    leaving.abort(new StatusError(Code.CANCELLED, 'interrupted'));
    throw leaving.signal.reason;
  });
  const ports = { blobs: new PlainBlobStore(), execution };
  await assert.rejects(runAction(ports, options, quiet, leaving.signal), { code: Code.CANCELLED });
  assert.deepEqual(execution.cancelled, ['op-1']);
});
