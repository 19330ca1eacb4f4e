import { Code } from '../base/status.ts';
import {
  ExecuteOperationMetadata,
  ExecutionStage_Value,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  contentOf,
  execute,
  expectWorker,
  failureOf,
  nanosOf,
  putScript,
  responseOf,
  resultOf,
} from './actions.ts';
import { argumentProbes } from './argument-probes.ts';
import { cachingProbes } from './caching-probes.ts';
import { expectBytes, expectSame, expectThat, NotApplicable } from './expect.ts';
import { running } from './needs.ts';
import { operationLifeProbes } from './operation-life-probes.ts';
import { outputProbes } from './output-probes.ts';
import type { Area } from './probe.ts';

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
    ...cachingProbes,
    ...operationLifeProbes,
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
