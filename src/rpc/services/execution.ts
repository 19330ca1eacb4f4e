import { quoted } from '../../base/quoted.ts';
import { Code, StatusError } from '../../base/status.ts';
import {
  ExecuteRequest,
  type ExecuteResponse,
  WaitExecutionRequest,
} from '../../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { Operation } from '../../proto/google/longrunning/operations.ts';
import type { OperationState } from '../../scheduler/operations.ts';
import type { Instances } from '../instances.ts';
import { type Call, serverStream, type Service } from '../method.ts';
import { findInstanceOfOperation, operationMessage } from '../operation-message.ts';
import { checkPriority, executionPriorities, resultsCachePriorities } from '../priorities.ts';
import { requestDigest } from '../request-digests.ts';

/** Paths of outputs to inline: more than Command may name (see `checkCommand`) do no good. */
const EXECUTE_BYTES_MAX = 4 * 2 ** 20;

const servicePath = '/build.bazel.remote.execution.v2.Execution';

/** Runs actions, and tells how they go. */
export function execution(instances: Instances): Service {
  return [
    serverStream(
      `${servicePath}/Execute`,
      ExecuteRequest,
      Operation,
      (request, call) => untilDone(execute(instances, request, call), call),
      { lasting: true, requestBytesMax: EXECUTE_BYTES_MAX },
    ),
    serverStream(
      `${servicePath}/WaitExecution`,
      WaitExecutionRequest,
      Operation,
      ({ name }, call) => untilDone(wait(instances, name, call), call),
      { lasting: true },
    ),
  ];
}

/** Refuses before there is an operation what no action can be (EXE-05, EXE-12, EXE-14 to EXE-16). */
function execute(
  instances: Instances,
  request: ExecuteRequest,
  call: Call,
): AsyncIterable<OperationState> {
  const instance = instances.get(request.instanceName);
  if (!instance.execution) {
    throw new StatusError(
      Code.UNIMPLEMENTED,
      `instance ${JSON.stringify(instance.name)} is a cache and runs no actions`,
    );
  }
  const { digestFunction, actionDigest } = request;
  const action = requestDigest(
    instance.digestFunctions,
    digestFunction,
    actionDigest,
    'action_digest',
  );
  call.label({ action: `${action}` });
  const priority = request.executionPolicy?.priority ?? 0;
  checkPriority(priority, executionPriorities, 'execution_policy.priority');
  const resultPriority = request.resultsCachePolicy?.priority ?? 0;
  checkPriority(resultPriority, resultsCachePriorities, 'results_cache_policy.priority');
  const options = {
    instanceName: instance.name,
    action,
    skipCacheLookup: request.skipCacheLookup,
    priority,
    inlineStdout: request.inlineStdout,
    inlineStderr: request.inlineStderr,
    inlineOutputFiles: request.inlineOutputFiles,
    requestMetadata: call.requestMetadata,
    requestId: call.id,
  };
  return instance.execution.execute(options, call.signal);
}

function wait(instances: Instances, name: string, call: Call): AsyncIterable<OperationState> {
  const instance = findInstanceOfOperation(instances, name);
  if (instance?.execution) return instance.execution.wait(name, call.signal);
  throw new StatusError(
    Code.NOT_FOUND,
    `there is no operation ${quoted(name)}; call Execute again`,
  );
}

/** Nothing follows the done state, and no stream ends well without it (EXE-26, EXE-27). */
async function* untilDone(
  states: AsyncIterable<OperationState>,
  call: Call,
): AsyncIterable<Operation> {
  let isKnown = false;
  for await (const state of states) {
    if (!isKnown) {
      const { hash, sizeBytes } = state.metadata.actionDigest ?? {};
      call.label({ operation: state.name, action: hash && `${hash}/${sizeBytes}` });
    }
    isKnown = true;
    if (state.response) logAnswer(state.response, call);
    yield operationMessage(state);
    if (state.response) return;
  }
  throw new StatusError(
    Code.UNAVAILABLE,
    'the operation cannot be followed any further; call WaitExecution',
  );
}

function logAnswer({ status, result, cachedResult }: ExecuteResponse, { log }: Call): void {
  if (status && status.code !== Code.OK) {
    log.info('action not answered with a result', { code: status.code, error: status.message });
  } else {
    log.info('action answered', { cached: cachedResult, exitCode: result?.exitCode });
  }
}
