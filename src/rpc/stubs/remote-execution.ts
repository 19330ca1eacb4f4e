import { Code, StatusError } from '../../base/status.ts';
import type { ExecuteOptions, Execution } from '../../execution/execution.ts';
import {
  ExecuteRequest,
  type RequestMetadata,
  WaitExecutionRequest,
} from '../../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { CancelOperationRequest, Operation } from '../../proto/google/longrunning/operations.ts';
import { Empty } from '../../proto/google/protobuf/empty.ts';
import type { OperationState } from '../../scheduler/operations.ts';
import type { CallOptions, Channel, Rpc } from './channel.ts';
import { operationStateOf } from './operation-state.ts';
import { Backoff, isBreak, isTransient, withRetries } from './retries.ts';

/** The answer is one row later; whoever cancels wants to leave. */
const CANCEL_DEADLINE_MS = 10_000;

const executeRpc: Rpc<ExecuteRequest, Operation> = {
  path: '/build.bazel.remote.execution.v2.Execution/Execute',
  request: ExecuteRequest,
  response: Operation,
};

const waitRpc: Rpc<WaitExecutionRequest, Operation> = {
  path: '/build.bazel.remote.execution.v2.Execution/WaitExecution',
  request: WaitExecutionRequest,
  response: Operation,
};

const cancelRpc: Rpc<CancelOperationRequest, Empty> = {
  path: '/google.longrunning.Operations/CancelOperation',
  request: CancelOperationRequest,
  response: Empty,
};

/** How to follow an operation: by the call that starts it, or once it has a name, by waiting for it. */
interface Following {
  readonly start: ((options: CallOptions) => AsyncIterable<Operation>) | undefined;
  readonly name: string | undefined;
  readonly instanceName: string;
  readonly requestMetadata: RequestMetadata | undefined;
  readonly onPostponed?: ExecuteOptions['onPostponed'];
}

/** The execution service behind a server. Streams that break are taken up again (CLI-10). */
export class RemoteExecution implements Execution {
  readonly #channel: Channel;
  readonly #instanceName: string;

  /** `instanceName` is for operations that are only waited for. */
  constructor(channel: Channel, instanceName: string) {
    this.#channel = channel;
    this.#instanceName = instanceName;
  }

  execute(options: ExecuteOptions, signal: AbortSignal): AsyncIterable<OperationState> {
    const { action, instanceName, priority, requestMetadata, onPostponed } = options;
    const request = ExecuteRequest.fromPartial({
      instanceName,
      actionDigest: action.toMessage(),
      digestFunction: action.function.value,
      skipCacheLookup: options.skipCacheLookup,
      inlineStdout: options.inlineStdout,
      inlineStderr: options.inlineStderr,
      inlineOutputFiles: [...options.inlineOutputFiles],
      ...(priority !== 0 && { executionPolicy: { priority } }),
    });
    const start = (call: CallOptions) => this.#channel.serverStream(executeRpc, request, call);
    const following = { start, name: undefined, instanceName, requestMetadata, onPostponed };
    return this.#follow(following, signal);
  }

  wait(name: string, signal: AbortSignal): AsyncIterable<OperationState> {
    const instanceName = this.#instanceName;
    return this.#follow(
      { start: undefined, name, instanceName, requestMetadata: undefined },
      signal,
    );
  }

  async cancel(name: string, signal: AbortSignal): Promise<void> {
    const request = CancelOperationRequest.fromPartial({ name });
    const options = { signal, deadlineMs: CANCEL_DEADLINE_MS };
    const attempt = () => this.#channel.unary(cancelRpc, request, options);
    await withRetries(this.#channel.retries, attempt, signal);
  }

  async *#follow(following: Following, signal: AbortSignal): AsyncIterable<OperationState> {
    const { start, instanceName, requestMetadata, onPostponed } = following;
    const { clock, delayMsMax } = this.#channel.retries;
    const backoff = new Backoff(this.#channel.retries);
    const call: CallOptions = { signal, requestMetadata };
    let { name } = following;
    for (;;) {
      const startedAt = clock.now();
      try {
        const operations = name === undefined && start ? start(call) : this.#wait(name, call);
        for await (const operation of operations) {
          if (operation.name !== '') ({ name } = operation);
          const state = operationStateOf(operation, instanceName);
          yield state;
          if (state.response) return;
        }
        throw new StatusError(Code.UNAVAILABLE, `the server ended the stream of ${name} too early`);
      } catch (thrown) {
        const error = StatusError.from(thrown);
        const forgotten = error.code === Code.NOT_FOUND && start && name !== undefined;
        if (!forgotten && !(name === undefined ? isTransient(error) : isBreak(error))) throw error;
        // A stream that stood for a while was no failed attempt: proxies cut streams by the minute.
        if (clock.now() - startedAt >= delayMsMax) backoff.reset();
        if (name === undefined) onPostponed?.(error);
        await backoff.pause(error, signal);
        if (forgotten) name = undefined;
      }
    }
  }

  #wait(name = '', options: CallOptions): AsyncIterable<Operation> {
    return this.#channel.serverStream(waitRpc, WaitExecutionRequest.fromPartial({ name }), options);
  }
}
