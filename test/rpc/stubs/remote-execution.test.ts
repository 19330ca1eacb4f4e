import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Code, StatusError } from '../../../src/base/status.ts';
import { blake3 } from '../../../src/digest/digest-functions.ts';
import { Digest } from '../../../src/digest/digest.ts';
import type { ExecuteOptions } from '../../../src/execution/execution.ts';
import {
  ExecuteOperationMetadata,
  ExecuteRequest,
  ExecuteResponse,
  ExecutionStage_Value,
  RequestMetadata,
  WaitExecutionRequest,
} from '../../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  CancelOperationRequest,
  Operation,
} from '../../../src/proto/google/longrunning/operations.ts';
import { Empty } from '../../../src/proto/google/protobuf/empty.ts';
import { RemoteExecution } from '../../../src/rpc/stubs/remote-execution.ts';
import type { OperationState } from '../../../src/scheduler/operations.ts';
import { never } from '../../support/never.ts';
import { fakeServer, serverStream, unary } from './fake-server.ts';

const { QUEUED, EXECUTING, COMPLETED } = ExecutionStage_Value;
const typeUrl = (name: string) => `type.googleapis.com/build.bazel.remote.execution.v2.${name}`;
const cut = new StatusError(Code.UNAVAILABLE, 'cut');

const options: ExecuteOptions = {
  instanceName: 'main',
  action: Digest.ofBytes(blake3, Buffer.from('action')),
  skipCacheLookup: true,
  priority: -3,
  inlineStdout: true,
  inlineStderr: false,
  inlineOutputFiles: ['a.txt'],
  requestMetadata: RequestMetadata.fromPartial({ actionMnemonic: 'Compile' }),
};

function operation(name: string, stage: ExecutionStage_Value, exitCode?: number): Operation {
  const metadata = ExecuteOperationMetadata.encode(
    ExecuteOperationMetadata.fromPartial({ stage }),
  ).finish();
  const response = ExecuteResponse.encode(
    ExecuteResponse.fromPartial({ result: { exitCode: exitCode ?? 0 } }),
  ).finish();
  return Operation.fromPartial({
    name,
    metadata: { typeUrl: typeUrl('ExecuteOperationMetadata'), value: metadata },
    done: exitCode !== undefined,
    ...(exitCode !== undefined && {
      result: {
        $case: 'response',
        value: { typeUrl: typeUrl('ExecuteResponse'), value: response },
      },
    }),
  });
}

type Step = Operation | StatusError;

/** Answers each call with the next of its scripts: operations, or the error that ends the stream. */
async function scripted(
  t: TestContext,
  scripts: { readonly execute?: Step[][]; readonly wait?: Step[][] },
) {
  const calls: string[] = [];
  const requests: ExecuteRequest[] = [];
  const metadatas: RequestMetadata[] = [];
  async function* play(script: Step[] | undefined): AsyncIterable<Operation> {
    for (const step of script ?? [new StatusError(Code.INTERNAL, 'no script is left')]) {
      if (step instanceof StatusError) throw step;
      yield step;
    }
  }
  const channel = await fakeServer(t, [
    serverStream(
      '/build.bazel.remote.execution.v2.Execution/Execute',
      ExecuteRequest,
      Operation,
      (request, metadata) => {
        calls.push('execute');
        requests.push(request);
        const [bytes] = metadata.get('build.bazel.remote.execution.v2.requestmetadata-bin');
        metadatas.push(RequestMetadata.decode(bytes as Buffer));
        return play(scripts.execute?.shift());
      },
    ),
    serverStream(
      '/build.bazel.remote.execution.v2.Execution/WaitExecution',
      WaitExecutionRequest,
      Operation,
      ({ name }) => {
        calls.push(`wait ${name}`);
        return play(scripts.wait?.shift());
      },
    ),
    unary(
      '/google.longrunning.Operations/CancelOperation',
      CancelOperationRequest,
      Empty,
      ({ name }) => {
        calls.push(`cancel ${name}`);
        return Empty.fromPartial({});
      },
    ),
  ]);
  return { execution: new RemoteExecution(channel, 'main'), calls, requests, metadatas };
}

async function followed(states: AsyncIterable<OperationState>): Promise<OperationState[]> {
  const all: OperationState[] = [];
  for await (const state of states) all.push(state);
  return all;
}

test('an execution gives each state, the last one with the response', async (t) => {
  const { execution, requests, metadatas } = await scripted(t, {
    execute: [[operation('op', QUEUED), operation('op', EXECUTING), operation('op', COMPLETED, 7)]],
  });
  const states = await followed(execution.execute(options, never));
  assert.deepEqual(
    states.map(({ metadata }) => metadata.stage),
    [QUEUED, EXECUTING, COMPLETED],
  );
  assert.equal(states[1]?.response, undefined);
  assert.equal(states[2]?.response?.result?.exitCode, 7);
  assert.equal(states[2]?.instanceName, 'main');
  const [request] = requests;
  assert.equal(request?.digestFunction, blake3.value);
  assert.equal(request?.actionDigest?.hash, options.action.hash);
  assert.equal(request?.executionPolicy?.priority, -3);
  assert.deepEqual(request?.inlineOutputFiles, ['a.txt']);
  assert.equal(metadatas[0]?.actionMnemonic, 'Compile');
});

test('CLI-10: a stream that breaks after a name was seen is waited for', async (t) => {
  const { execution, calls } = await scripted(t, {
    execute: [[operation('op', QUEUED), cut]],
    wait: [
      [operation('op', EXECUTING), new StatusError(Code.INTERNAL, 'reset by a proxy')],
      [operation('op', COMPLETED, 0)],
    ],
  });
  const states = await followed(execution.execute(options, never));
  assert.ok(states.at(-1)?.response);
  assert.deepEqual(calls, ['execute', 'wait op', 'wait op']);
});

test('CLI-10: an operation that is forgotten is executed again', async (t) => {
  const { execution, calls } = await scripted(t, {
    execute: [[operation('op', QUEUED), cut], [operation('op2', COMPLETED, 0)]],
    wait: [[new StatusError(Code.NOT_FOUND, 'no such operation')]],
  });
  const states = await followed(execution.execute(options, never));
  assert.equal(states.at(-1)?.name, 'op2');
  assert.deepEqual(calls, ['execute', 'wait op', 'execute']);
});

test('a server that is unavailable for a moment is asked again', async (t) => {
  const { execution, calls } = await scripted(t, {
    execute: [[cut], [cut], [operation('op', COMPLETED, 0)]],
  });
  await followed(execution.execute(options, never));
  assert.deepEqual(calls, ['execute', 'execute', 'execute']);
});

test('a stream that ends before the operation does counts as broken', async (t) => {
  const { execution, calls } = await scripted(t, {
    execute: [[operation('op', QUEUED)]],
    wait: [[operation('op', COMPLETED, 0)]],
  });
  await followed(execution.execute(options, never));
  assert.deepEqual(calls, ['execute', 'wait op']);
});

test('streams that break at once again and again come to an end', async (t) => {
  const { execution, calls } = await scripted(t, {
    execute: [[operation('op', QUEUED), cut]],
    wait: Array.from({ length: 50 }, () => [operation('op', QUEUED), cut]),
  });
  await assert.rejects(followed(execution.execute(options, never)), { code: Code.UNAVAILABLE });
  assert.equal(calls.length, 5);
});

for (const code of [Code.UNIMPLEMENTED, Code.FAILED_PRECONDITION, Code.INVALID_ARGUMENT] as const) {
  test(`an execution refused with code ${code} is not tried again`, async (t) => {
    const { execution, calls } = await scripted(t, { execute: [[new StatusError(code, 'no')]] });
    await assert.rejects(followed(execution.execute(options, never)), { code });
    assert.deepEqual(calls, ['execute']);
  });
}

test('waiting goes on after a break, and tells when there is no such operation', async (t) => {
  const { execution, calls } = await scripted(t, {
    wait: [
      [operation('op', QUEUED), cut],
      [operation('op', COMPLETED, 3)],
      [new StatusError(Code.NOT_FOUND, 'no such operation')],
    ],
  });
  const states = await followed(execution.wait('op', never));
  assert.equal(states.at(-1)?.response?.result?.exitCode, 3);
  await assert.rejects(followed(execution.wait('op', never)), { code: Code.NOT_FOUND });
  assert.deepEqual(calls, ['wait op', 'wait op', 'wait op']);
});

test('an operation that ended with an error has a response with that status', async (t) => {
  const failed = Operation.fromPartial({
    name: 'op',
    done: true,
    result: { $case: 'error', value: { code: Code.ABORTED, message: 'old servers do this' } },
  });
  const { execution } = await scripted(t, { execute: [[failed]] });
  const [state] = await followed(execution.execute(options, never));
  assert.equal(state?.response?.status?.code, Code.ABORTED);
});

test('an operation with something else inside is INTERNAL', async (t) => {
  const strange = Operation.fromPartial({
    name: 'op',
    metadata: { typeUrl: 'type.googleapis.com/x.Y', value: new Uint8Array() },
  });
  const { execution } = await scripted(t, {
    execute: [[strange]],
    wait: Array.from({ length: 9 }, () => [strange]),
  });
  await assert.rejects(followed(execution.execute(options, never)), {
    code: Code.INTERNAL,
    message: /x\.Y/,
  });
});

test('CLI-13: an operation can be cancelled', async (t) => {
  const { execution, calls } = await scripted(t, {});
  await execution.cancel('op', never);
  assert.deepEqual(calls, ['cancel op']);
});

test('an abort ends the following of an operation', async (t) => {
  const { execution } = await scripted(t, { execute: [[operation('op', QUEUED)]] });
  const aborting = new AbortController();
  await assert.rejects(
    (async () => {
      for await (const { name } of execution.execute(options, aborting.signal)) {
        assert.equal(name, 'op');
        aborting.abort();
      }
    })(),
    { code: Code.CANCELLED },
  );
});
