import { Code, StatusError } from '../../base/status.ts';
import { Digest } from '../../digest/digest.ts';
import { allDigestFunctions } from '../../digest/digest-functions.ts';
import {
  CancelOperationsRequest,
  CancelOperationsResponse,
  ListOperationsRequest,
  ListOperationsResponse,
  ListQuarantinedActionsRequest,
  ListQuarantinedActionsResponse,
  ListWorkersRequest,
  ListWorkersResponse,
  Operation,
  type QuarantinedAction,
  ReleaseActionRequest,
  ReleaseActionResponse,
  UpdateWorkersRequest,
  UpdateWorkersRequest_Wish,
  UpdateWorkersResponse,
  type Worker,
} from '../../proto/expbuild/admin/v1/admin.ts';
import type {
  Administration,
  OperationView,
  WorkerSelection,
  WorkerView,
  WorkerWish,
} from '../../scheduler/administration.ts';
import type { Operations } from '../../scheduler/operations.ts';
import { durationOf, timestampOf } from '../../scheduler/protobuf-time.ts';
import type { QuarantinedAction as Quarantined } from '../../scheduler/quarantine.ts';
import { RESPONSE_BYTES_MAX } from '../limits.ts';
import { type Service, unary } from '../method.ts';

const servicePath = '/expbuild.admin.v1.AdminService';

/** More than a person reads, and as many as fit in a message. */
const LIMIT_DEFAULT = 1_000;
const LIMIT_MAX = 10_000;

const wishes = new Map<UpdateWorkersRequest_Wish, WorkerWish>([
  [UpdateWorkersRequest_Wish.DRAIN, 'drain'],
  [UpdateWorkersRequest_Wish.UNDRAIN, 'undrain'],
  [UpdateWorkersRequest_Wish.TERMINATE, 'terminate'],
]);

/** What operators ask of a scheduler. */
export function admin(administration: Administration, operations: Operations): Service {
  return [
    unary(
      `${servicePath}/ListWorkers`,
      ListWorkersRequest,
      ListWorkersResponse,
      async (): Promise<ListWorkersResponse> => ({
        workers: administration.workers().map(workerMessage),
      }),
    ),
    unary(
      `${servicePath}/UpdateWorkers`,
      UpdateWorkersRequest,
      UpdateWorkersResponse,
      async (request): Promise<UpdateWorkersResponse> => {
        const wish = wishes.get(request.wish);
        if (!wish) throw invalid('wish is none of DRAIN, UNDRAIN and TERMINATE');
        const workerIds = await administration.updateWorkers(selectionOf(request), wish);
        if (workerIds.length === 0)
          throw notFound(`the scheduler knows no worker ${named(request)}`);
        return { workerIds };
      },
    ),
    unary(
      `${servicePath}/ListOperations`,
      ListOperationsRequest,
      ListOperationsResponse,
      async (request) => listOperations(administration, request),
    ),
    unary(
      `${servicePath}/CancelOperations`,
      CancelOperationsRequest,
      CancelOperationsResponse,
      async (request): Promise<CancelOperationsResponse> => ({
        names: await cancelOperations(administration, operations, request),
      }),
    ),
    unary(
      `${servicePath}/ListQuarantinedActions`,
      ListQuarantinedActionsRequest,
      ListQuarantinedActionsResponse,
      async (): Promise<ListQuarantinedActionsResponse> => ({
        actions: administration.quarantined().map(quarantinedMessage),
      }),
    ),
    unary(
      `${servicePath}/ReleaseAction`,
      ReleaseActionRequest,
      ReleaseActionResponse,
      async ({ digestFunction, actionDigest }): Promise<ReleaseActionResponse> => {
        const known = allDigestFunctions.find(({ value }) => value === digestFunction);
        if (!known) throw invalid(`digest_function ${digestFunction} is not known`);
        const action = Digest.fromMessage(known, actionDigest, 'action_digest');
        if (!administration.release(action))
          throw notFound(`action ${action} is not in quarantine`);
        return {};
      },
    ),
  ];
}

function named({ workerIds, properties }: UpdateWorkersRequest): string {
  if (workerIds.length > 0) return workerIds.join(', ');
  return `that offers ${properties.map(({ name, value }) => `${name}=${value}`).join(' and ')}`;
}

/** Names or properties: a request with neither would mean every worker, more likely by mistake. */
function selectionOf({ workerIds, properties }: UpdateWorkersRequest): WorkerSelection {
  if ((workerIds.length === 0) === (properties.length === 0)) {
    throw invalid('either worker_ids or properties must say which workers are meant');
  }
  return workerIds.length > 0 ? { ids: new Set(workerIds) } : { properties };
}

function listOperations(
  administration: Administration,
  { instanceName, toolInvocationId, includeDone, limit, names }: ListOperationsRequest,
): ListOperationsResponse {
  const selection = {
    instanceName,
    toolInvocationId: toolInvocationId === '' ? undefined : toolInvocationId,
    names: names.length === 0 ? undefined : new Set(names),
    includeDone,
  };
  const most = Math.min(limit || LIMIT_DEFAULT, LIMIT_MAX);
  const { listed, total } = administration.operations(selection, most);
  const operations: Operation[] = [];
  let bytes = 0;
  for (const view of listed) {
    const message = operationMessage(view);
    bytes += Operation.encode(message).finish().length + 8;
    if (bytes > RESPONSE_BYTES_MAX) break;
    operations.push(message);
  }
  return { operations, total };
}

async function cancelOperations(
  administration: Administration,
  operations: Operations,
  { names, toolInvocationId }: CancelOperationsRequest,
): Promise<string[]> {
  if ((names.length === 0) === (toolInvocationId === '')) {
    throw invalid('either names or tool_invocation_id must say which operations are meant');
  }
  if (toolInvocationId !== '') return administration.cancelInvocation(toolInvocationId);
  const pending = names.filter((name) => {
    const state = operations.find(name);
    if (!state) throw notFound(`there is no operation ${name}`);
    return !state.response;
  });
  // Together, so that they are written together.
  await Promise.all(pending.map(async (name) => operations.cancel(name)));
  return pending;
}

function workerMessage(view: WorkerView): Worker {
  const { values, capacities, actionMaxes } = view.offered;
  return {
    workerId: view.id,
    bootId: view.bootId,
    softwareVersion: view.softwareVersion,
    isolation: view.isolation,
    connected: view.isConnected,
    draining: view.isDraining,
    drained: view.isDrained,
    terminating: view.isTerminating,
    resting: view.isResting,
    slots: view.slots,
    busySlots: view.busySlots,
    properties: [...values].flatMap(([name, all]) => [...all].map((value) => ({ name, value }))),
    capacities: [...capacities].map(([name, amount]) => ({
      name,
      amount,
      actionMax: actionMaxes.get(name) ?? 0,
    })),
    lastSeenAt: view.lastSeenAt === 0 ? undefined : timestampOf(view.lastSeenAt),
    operationNames: [...view.operationNames],
    trouble: view.trouble,
  };
}

function operationMessage(view: OperationView): Operation {
  const { name, instanceName, metadata, response } = view.state;
  return {
    name,
    instanceName,
    digestFunction: metadata.digestFunction,
    actionDigest: metadata.actionDigest,
    stage: metadata.stage,
    waitingReason: view.waitingReason ?? '',
    workerId: view.workerId ?? response?.result?.executionMetadata?.worker ?? '',
    requestMetadata: view.requestMetadata,
    priority: view.priority,
    queuedAt: view.queuedAt === undefined ? undefined : timestampOf(view.queuedAt),
    earlierAttempts: view.earlierAttempts,
    watchers: view.watchers,
    statusCode: response && (response.status?.code ?? Code.OK),
    exitCode: response?.result?.exitCode,
    message: (response?.status?.message || response?.message) ?? '',
  };
}

function quarantinedMessage({ instanceName, action, why, leftMs }: Quarantined): QuarantinedAction {
  return {
    instanceName,
    digestFunction: action.function.value,
    actionDigest: action.toMessage(),
    why,
    left: durationOf(leftMs),
  };
}

function invalid(message: string): StatusError {
  return new StatusError(Code.INVALID_ARGUMENT, message);
}

function notFound(message: string): StatusError {
  return new StatusError(Code.NOT_FOUND, message);
}
