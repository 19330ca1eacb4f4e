import { Code } from '../base/status.ts';
import {
  type ActionResult,
  ExecuteOperationMetadata,
  ExecutionStage_Value,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Timestamp } from '../proto/google/protobuf/timestamp.ts';
import {
  contentOf,
  execute,
  expectWorker,
  failureOf,
  putScript,
  responseOf,
  resultOf,
} from './actions.ts';
import { argumentProbes } from './argument-probes.ts';
import { type Api, each } from './api.ts';
import {
  expectBytes,
  expectRefusal,
  expectSame,
  expectThat,
  Failure,
  NotApplicable,
} from './expect.ts';
import { offered, running } from './needs.ts';
import { outputProbes } from './output-probes.ts';
import type { Area } from './probe.ts';
import { rpcs } from './rpcs.ts';

/** An action waits for a worker, which may have to be started first. */
const SILENCE_MS_MAX = 120_000;

const METADATA_TYPE = 'build.bazel.remote.execution.v2.ExecuteOperationMetadata';

/** Tiny shell scripts, each of which is another action. */
export const runningProbes: Area = {
  name: 'running',
  needs: [running],
  silenceMs: SILENCE_MS_MAX,
  prepare: expectWorker,
  probes: [
    {
      ids: ['EXE-01', 'EXE-02', 'EXE-03', 'EXE-12', 'EXE-26', 'EXE-45', 'OPS-09'],
      title: 'an execution is one operation, whose last message alone is done',
      run: async (api) => {
        const operations = await execute(api, await putScript(api, 'true'));
        const names = new Set(operations.map(({ name }) => name));
        expectThat(names.size === 1 && !names.has(''), 'one name in all messages', [...names]);
        for (const [i, operation] of operations.entries()) {
          const isLast = i === operations.length - 1;
          expectSame(operation.done, isLast, `done of message ${i + 1} of ${operations.length}`);
          expectSame(operation.result?.$case ?? 'none', isLast ? 'response' : 'none', 'its result');
          const { typeUrl = '' } = operation.metadata ?? {};
          expectThat(typeUrl.endsWith(METADATA_TYPE), `metadata of ${METADATA_TYPE}`, typeUrl);
          const { stage } = ExecuteOperationMetadata.decode(
            operation.metadata?.value ?? Buffer.of(),
          );
          const isCompleted = stage === ExecutionStage_Value.COMPLETED;
          expectSame(isCompleted, isLast, `whether stage ${stage} is COMPLETED`);
        }
        responseOf(operations.at(-1));
      },
    },
    {
      ids: ['EXE-61'],
      title: 'the metadata of an operation names its action',
      run: async (api) => {
        const action = await putScript(api, 'true');
        for (const { metadata } of await execute(api, action)) {
          const { actionDigest } = ExecuteOperationMetadata.decode(metadata?.value ?? Buffer.of());
          expectSame(actionDigest?.hash, action.digest.hash, 'action_digest');
        }
      },
    },
    {
      ids: ['EXE-46', 'RES-25', 'RES-26'],
      title: 'a result says who ran it, and when, in order',
      run: async (api) => {
        const { result } = await resultOf(api, await putScript(api, 'true'));
        const metadata = result.executionMetadata;
        expectThat(metadata !== undefined, 'execution_metadata', 'none');
        expectThat(metadata.worker !== '', 'the name of the worker', 'none');
        const stamps = [
          metadata.queuedTimestamp,
          metadata.workerStartTimestamp,
          metadata.inputFetchStartTimestamp,
          metadata.inputFetchCompletedTimestamp,
          metadata.executionStartTimestamp,
          metadata.executionCompletedTimestamp,
          metadata.outputUploadStartTimestamp,
          metadata.outputUploadCompletedTimestamp,
          metadata.workerCompletedTimestamp,
        ];
        const isSet = stamps.every((stamp) => stamp !== undefined);
        expectThat(isSet, 'all nine timestamps', stamps);
        const times = stamps.map(nanosOf);
        const isOrdered = times.every((time, i) => time >= (times[i - 1] ?? 0n));
        expectThat(isOrdered, 'timestamps that never go back', stamps);
      },
    },
    {
      ids: ['EXE-47', 'RES-23'],
      title: 'a command that exits with 3 is a success of the execution; a signal adds 128',
      run: async (api) => {
        const exited = await resultOf(api, await putScript(api, 'exit 3'));
        expectSame(exited.result.exitCode, 3, 'the exit code of "exit 3"');
        const killed = await resultOf(api, await putScript(api, 'kill -9 $$'));
        expectSame(killed.result.exitCode, 137, 'the exit code of "kill -9"');
      },
    },
    {
      ids: ['RES-24', 'ACT-10'],
      title:
        'standard output and error are stored, raw only when asked for; sh is found without PATH',
      run: async (api) => {
        const action = await putScript(api, 'echo out; echo err >&2');
        const { result } = await resultOf(api, action);
        expectSame(result.stdoutRaw.length + result.stderrRaw.length, 0, 'the inlined bytes');
        expectBytes(await contentOf(api, result.stdoutDigest), Buffer.from('out\n'), 'stdout');
        expectBytes(await contentOf(api, result.stderrDigest), Buffer.from('err\n'), 'stderr');
      },
    },
    {
      ids: ['EXE-60'],
      title: 'standard output is inlined when that is asked for',
      run: async (api) => {
        const action = await putScript(api, 'echo out');
        const { result } = await resultOf(api, action, { inlineStdout: true });
        expectBytes(result.stdoutRaw, Buffer.from('out\n'), 'stdout_raw');
      },
    },
    {
      ids: ['EXE-31', 'EXE-38', 'EXE-57', 'RES-29'],
      title: 'a result is cached, and comes back with the metadata of the first run',
      run: async (api) => {
        const action = await putScript(api, 'echo "$$"');
        const first = await resultOf(api, action);
        expectSame(first.response.cachedResult, false, 'cached_result of the first run');
        await api.one(rpcs.getActionResult, { actionDigest: action.digest.toMessage() });
        const second = await resultOf(api, action);
        expectSame(second.response.cachedResult, true, 'cached_result of the second');
        const [firstAt, secondAt] = [first, second].map((one) => startOf(one).toString());
        expectSame(secondAt, firstAt, 'when the command of the cached result started');
      },
    },
    {
      ids: ['EXE-32'],
      title: 'skip_cache_lookup runs the action again',
      run: async (api) => {
        const action = await putScript(api, 'true');
        const first = await resultOf(api, action);
        const second = await resultOf(api, action, { skipCacheLookup: true });
        expectSame(second.response.cachedResult, false, 'cached_result');
        const [firstAt, secondAt] = [first, second].map(startOf) as [bigint, bigint];
        expectThat(secondAt > firstAt, 'a later start of the command than before', 'no later one');
      },
    },
    {
      ids: ['EXE-33'],
      title: 'do_not_cache leaves no entry',
      run: async (api) => {
        const action = await putScript(api, 'true', { action: { doNotCache: true } });
        await resultOf(api, action);
        const call = api.one(rpcs.getActionResult, { actionDigest: action.digest.toMessage() });
        await expectRefusal(call, Code.NOT_FOUND, 'the result of an action not to be cached');
      },
    },
    {
      ids: ['EXE-35'],
      title: 'do_not_cache of two at once is run twice, and leaves no entry',
      run: async (api) => {
        const script = 'sleep 1; od -An -N16 -tx1 /dev/urandom';
        const action = await putScript(api, script, { action: { doNotCache: true } });
        const [one, other] = await Promise.all([resultOf(api, action), resultOf(api, action)]);
        if (one.result.exitCode !== 0) throw new NotApplicable('the worker has no od');
        const [first, second] = [one, other].map(({ result }) => result.stdoutDigest?.hash ?? '');
        expectThat(first !== '' && first !== second, 'two random outputs', [first, second]);
        const call = api.one(rpcs.getActionResult, { actionDigest: action.digest.toMessage() });
        await expectRefusal(call, Code.NOT_FOUND, 'the result of an action not to be cached');
      },
    },
    {
      ids: ['EXE-22', 'OPS-01'],
      title: 'a done operation is still there for who waits for it or gets it',
      run: async (api) => {
        const [operation] = await execute(api, await putScript(api, 'true'));
        const { name = '' } = operation ?? {};
        responseOf((await api.all(rpcs.waitExecution, { name })).at(-1));
        responseOf(await api.one(rpcs.getOperation, { name }));
      },
    },
    {
      ids: ['EXE-25'],
      title: 'ten streams watch one operation while it runs, and each hears of its end',
      run: async (api) => {
        const name = await nameOf(api, await putScript(api, 'sleep 2'));
        const waiting = Array.from({ length: 10 }, () => api.all(rpcs.waitExecution, { name }));
        for (const operations of await Promise.all(waiting)) responseOf(operations.at(-1));
      },
    },
    {
      ids: ['EXE-20', 'EXE-22'],
      title: 'an execution outlives its stream, and can be waited for',
      run: async (api) => {
        const action = await putScript(api, 'sleep 1; echo over');
        const name = await nameOf(api, action);
        const { status, result } = responseOf((await api.all(rpcs.waitExecution, { name })).at(-1));
        expectSame(status?.code ?? 0, Code.OK, 'the code of its status');
        expectBytes(await contentOf(api, result?.stdoutDigest), Buffer.from('over\n'), 'stdout');
      },
    },
    {
      ids: ['EXE-49', 'EXE-50'],
      title: 'a timeout is DEADLINE_EXCEEDED with the text that Siso needs',
      run: async (api) => {
        const timeout = { seconds: 1, nanos: 0 };
        const action = await putScript(api, 'sleep 30', { action: { timeout } });
        const { code, message } = await failureOf(api, action);
        expectSame(code, Code.DEADLINE_EXCEEDED, 'the code of the status');
        expectSame(message, 'execution timeout exceeded', 'its message');
      },
    },
    {
      ids: ['EXE-56', 'OPS-04'],
      title: 'a cancelled operation ends with CANCELLED in its response',
      run: async (api) => {
        const name = await nameOf(api, await putScript(api, 'sleep 30'));
        await api.one(rpcs.cancelOperation, { name });
        const { status } = responseOf((await api.all(rpcs.waitExecution, { name })).at(-1));
        expectSame(status?.code, Code.CANCELLED, 'the code of the status');
      },
    },
    {
      ids: ['OPS-05'],
      title: 'cancelling what is done changes nothing, and is no error',
      run: async (api) => {
        const [operation] = await execute(api, await putScript(api, 'true'));
        const { name = '' } = operation ?? {};
        await api.one(rpcs.cancelOperation, { name });
        const { status } = responseOf(await api.one(rpcs.getOperation, { name }));
        expectSame(status?.code ?? 0, Code.OK, 'the code of its status');
      },
    },
    {
      ids: ['OPS-07'],
      title: 'an operation that was deleted is NOT_FOUND',
      run: async (api) => {
        const [operation] = await execute(api, await putScript(api, 'true'));
        const { name = '' } = operation ?? {};
        await offered('DeleteOperation', api.one(rpcs.deleteOperation, { name }));
        await expectRefusal(api.one(rpcs.getOperation, { name }), Code.NOT_FOUND, 'GetOperation');
      },
    },
    {
      ids: ['OPS-08'],
      title: 'WaitOperation answers after its timeout, or at the end of the operation',
      run: async (api) => {
        const name = await nameOf(api, await putScript(api, 'sleep 30'));
        const timeout = { seconds: 1, nanos: 0 };
        const waiting = api.one(rpcs.waitOperation, { name, timeout });
        const early = await offered('WaitOperation', waiting);
        expectSame([early.name, early.done], [name, false], 'the operation that still runs');
        await api.one(rpcs.cancelOperation, { name });
        await api.all(rpcs.waitExecution, { name });
        responseOf(await api.one(rpcs.waitOperation, { name, timeout }));
      },
    },
    {
      ids: ['ACT-11'],
      title: 'an executable that is not there is INVALID_ARGUMENT',
      run: async (api) => {
        const command = { arguments: [`no-such-program-${api.random.uuid()}`] };
        const { code } = await failureOf(api, await putScript(api, '', { command }));
        expectSame(code, Code.INVALID_ARGUMENT, 'the code of the status');
      },
    },
    ...outputProbes,
    ...argumentProbes,
    {
      ids: ['DIG-12', 'EXE-16', 'CAP-22'],
      title: 'an execution uses the digest function of its action, each that is announced',
      run: async (api) => {
        const announced = api.tested.execution?.digestFunctions ?? [];
        const usable = api.tested.digestFunctions.filter(({ value }) => announced.includes(value));
        if (usable.length === 0) throw new NotApplicable('no digest function can be tried');
        for (const digestFunction of usable) {
          const action = await putScript(api, 'echo x', {}, digestFunction);
          const { result } = await resultOf(api, action);
          const expected = digestFunction.hashOf(Buffer.from('x\n'));
          expectSame(result.stdoutDigest?.hash, expected, `stdout's ${digestFunction.name}`);
        }
      },
    },
  ],
};

/** When the command started. */
function startOf({ result }: { readonly result: ActionResult }): bigint {
  return nanosOf(result.executionMetadata?.executionStartTimestamp);
}

function nanosOf(stamp: Timestamp | undefined): bigint {
  return stamp ? BigInt(stamp.seconds) * 1_000_000_000n + BigInt(stamp.nanos) : 0n;
}

/** Starts an execution, and leaves its stream once it has a name. */
async function nameOf(api: Api, { digest }: { readonly digest: { toMessage(): object } }) {
  const request = api.encoded(rpcs.execute, { actionDigest: digest.toMessage() });
  for await (const message of api.stream(rpcs.execute.path, each([request]))) {
    return rpcs.execute.response.decode(message).name;
  }
  throw new Failure('a first message with the name', 'an end without any');
}
