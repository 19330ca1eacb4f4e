import type { Clock } from '../../base/clock.ts';
import { quoted } from '../../base/quoted.ts';
import { Code, StatusError } from '../../base/status.ts';
import {
  CancelOperationRequest,
  DeleteOperationRequest,
  GetOperationRequest,
  ListOperationsRequest,
  ListOperationsResponse,
  Operation,
  WaitOperationRequest,
} from '../../proto/google/longrunning/operations.ts';
import { Empty } from '../../proto/google/protobuf/empty.ts';
import type { Operations } from '../../scheduler/operations.ts';
import type { Instances } from '../instances.ts';
import { RESPONSE_BYTES_MAX } from '../limits.ts';
import { type Service, unary } from '../method.ts';
import { parseOperationFilter } from '../operation-filter.ts';
import { findInstanceOfOperation, operationMessage } from '../operation-message.ts';
import { waitForOperation, waitMsOf } from '../wait-for-operation.ts';

const servicePath = '/google.longrunning.Operations';

/** Of pages: an operation takes some hundred bytes, and one that is done has its result in it. */
const PAGE_SIZE_DEFAULT = 100;
const PAGE_SIZE_MAX = 1000;
/** What a page has beside its operations: the token, and some bytes for each of them. */
const PAGE_OVERHEAD_BYTES = 16 * 1024;

/** Executions by name: their state without following them, and their end. */
export function operations(instances: Instances, clock: Clock): Service {
  return [
    unary(
      `${servicePath}/GetOperation`,
      GetOperationRequest,
      Operation,
      async ({ name }): Promise<Operation> => {
        const state = findInstanceOfOperation(instances, name)?.operations?.find(name);
        if (state) return operationMessage(state);
        throw unknownOperation(name);
      },
    ),
    unary(
      `${servicePath}/ListOperations`,
      ListOperationsRequest,
      ListOperationsResponse,
      async (request) => listOperations(request, operationsOf(instances, request.name)),
    ),
    unary(
      `${servicePath}/CancelOperation`,
      CancelOperationRequest,
      Empty,
      async ({ name }, { signal }): Promise<Empty> => {
        const execution = findInstanceOfOperation(instances, name)?.execution;
        if (!execution) throw unknownOperation(name);
        await execution.cancel(name, signal);
        return {};
      },
    ),
    unary(
      `${servicePath}/DeleteOperation`,
      DeleteOperationRequest,
      Empty,
      async ({ name }): Promise<Empty> => {
        const all = findInstanceOfOperation(instances, name)?.operations;
        if (!all) throw unknownOperation(name);
        await all.delete(name);
        return {};
      },
    ),
    unary(
      `${servicePath}/WaitOperation`,
      WaitOperationRequest,
      Operation,
      async ({ name, timeout }, { signal }): Promise<Operation> => {
        const waitMs = waitMsOf(timeout);
        const all = findInstanceOfOperation(instances, name)?.operations;
        const state = all && (await waitForOperation(all, name, waitMs, clock, signal));
        if (state) return operationMessage(state);
        throw unknownOperation(name);
      },
      { lasting: true },
    ),
  ];
}

/** Oldest first. A page's token is the name of its last operation. */
function listOperations(
  { name: parent, filter, pageSize, pageToken, returnPartialSuccess }: ListOperationsRequest,
  { instanceName, all }: { readonly instanceName: string; readonly all: Operations },
): ListOperationsResponse {
  if (returnPartialSuccess) {
    throw new StatusError(Code.UNIMPLEMENTED, 'return_partial_success is not supported');
  }
  const isWanted = parseOperationFilter(filter);
  if (pageSize < 0) throw invalid(`page_size ${pageSize} is negative`);
  const states = all.list(instanceName);
  const last = states.findIndex(({ name }) => name === pageToken);
  if (pageToken !== '' && last < 0) {
    throw invalid(`page_token is not one of ${quoted(parent)} any more; begin without one`);
  }
  // The last one is looked for among all: it may have passed out of the filter since.
  const rest = states.slice(last + 1).filter(isWanted);
  const pageSizeMax = Math.min(pageSize || PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX);
  const page: Operation[] = [];
  let bytes = PAGE_OVERHEAD_BYTES;
  for (const state of rest.slice(0, pageSizeMax)) {
    const message = operationMessage(state);
    bytes += Operation.encode(message).finish().length;
    if (page.length > 0 && bytes > RESPONSE_BYTES_MAX) break;
    page.push(message);
  }
  const hasMore = page.length < rest.length;
  return {
    operations: page,
    nextPageToken: hasMore ? (page.at(-1)?.name ?? '') : '',
    unreachable: [],
  };
}

/** What `[instance/]operations` lists; also without the word, as an instance name alone. */
function operationsOf(instances: Instances, parent: string) {
  const instanceName = parent === 'operations' ? '' : parent.replace(/\/operations$/, '');
  const instance = instances.get(instanceName);
  if (instance.operations) return { instanceName, all: instance.operations };
  throw new StatusError(
    Code.UNIMPLEMENTED,
    `instance ${JSON.stringify(instanceName)} keeps no operations`,
  );
}

function unknownOperation(name: string): StatusError {
  return new StatusError(
    Code.NOT_FOUND,
    `there is no operation ${quoted(name)}, or it is forgotten`,
  );
}

function invalid(message: string): StatusError {
  return new StatusError(Code.INVALID_ARGUMENT, message);
}
