import { inlineContents } from '../../action-cache/inline-contents.ts';
import type { Clock } from '../../base/clock.ts';
import { Code, StatusError } from '../../base/status.ts';
import { GetActionResultRequest } from '../../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  ActionResult,
  UpdateActionResultRequest,
} from '../../proto/whole/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Instances } from '../instances.ts';
import { type Call, type Service, unary } from '../method.ts';
import { checkPriority, resultsCachePriorities } from '../priorities.ts';
import { requestDigest } from '../request-digests.ts';
import {
  checkActionResult,
  refuseAbsoluteSymlinks,
  refuseOutsidePaths,
} from './check-action-result.ts';
import { withStoredContents } from './stored-contents.ts';
import { withWorker } from './with-worker.ts';

const servicePath = '/build.bazel.remote.execution.v2.ActionCache';

/** Results of actions: clients look them up, and store their own where they may. */
export function actionCache(instances: Instances, clock: Clock): Service {
  const get = async (request: GetActionResultRequest, call: Call): Promise<ActionResult> => {
    const { signal } = call;
    const { digestFunctions, actions, blobs } = instances.get(request.instanceName);
    const { digestFunction, actionDigest } = request;
    const action = requestDigest(digestFunctions, digestFunction, actionDigest, 'action_digest');
    call.label({ action: `${action}` });
    const result = await actions.find(action, signal);
    if (result) return inlineContents(result, request, action.function, blobs, signal);
    throw new StatusError(Code.NOT_FOUND, `no result of action ${action} is stored`);
  };
  const update = async (request: UpdateActionResultRequest, call: Call): Promise<ActionResult> => {
    const { signal, requestMetadata } = call;
    const instance = instances.get(request.instanceName);
    const { digestFunctions, actions, blobs } = instance;
    if (!instance.actionCacheUpdates) {
      throw new StatusError(
        Code.PERMISSION_DENIED,
        'clients may not store action results here (action_cache.updates_allowed); results of remote ' +
          'executions are stored unasked',
      );
    }
    const { digestFunction, actionDigest } = request;
    const action = requestDigest(digestFunctions, digestFunction, actionDigest, 'action_digest');
    call.label({ action: `${action}` });
    if (!request.actionResult) {
      throw new StatusError(Code.INVALID_ARGUMENT, 'action_result is not set');
    }
    const priority = request.resultsCachePolicy?.priority ?? 0;
    checkPriority(priority, resultsCachePriorities, 'results_cache_policy.priority');
    checkActionResult(request.actionResult, action.function);
    await refuseOutsidePaths(request.actionResult, action, blobs, signal);
    const stored = await withStoredContents(request.actionResult, action.function, blobs, signal);
    if (instance.absoluteSymlinks === 'disallowed') {
      await refuseAbsoluteSymlinks(stored, action, blobs, signal);
    }
    const tool = requestMetadata?.toolDetails?.toolName;
    const result = withWorker(stored, tool, clock.now());
    await actions.update(action, result, signal);
    return result;
  };
  return [
    unary(`${servicePath}/GetActionResult`, GetActionResultRequest, ActionResult, get),
    unary(`${servicePath}/UpdateActionResult`, UpdateActionResultRequest, ActionResult, update),
  ];
}
