import {
  CancelOperationsRequest,
  CancelOperationsResponse,
  ListOperationsRequest,
  ListOperationsResponse,
  ListQuarantinedActionsRequest,
  ListQuarantinedActionsResponse,
  ListWorkersRequest,
  ListWorkersResponse,
  ReleaseActionRequest,
  ReleaseActionResponse,
  UpdateWorkersRequest,
  UpdateWorkersResponse,
} from '../../proto/expbuild/admin/v1/admin.ts';
import type { Decodable } from '../../tree/decode-message.ts';
import type { Encodable } from '../method.ts';
import type { Channel, Rpc } from './channel.ts';

/** Long lists of a busy scheduler take a second or two. */
const DEADLINE_MS = 30_000;

/** The operators' service of a server; each method makes one call. */
export class RemoteAdmin {
  readonly #channel: Channel;

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  listWorkers(signal: AbortSignal): Promise<ListWorkersResponse> {
    return this.#call('ListWorkers', ListWorkersRequest, ListWorkersResponse, {}, signal);
  }

  updateWorkers(
    request: UpdateWorkersRequest,
    signal: AbortSignal,
  ): Promise<UpdateWorkersResponse> {
    return this.#call(
      'UpdateWorkers',
      UpdateWorkersRequest,
      UpdateWorkersResponse,
      request,
      signal,
    );
  }

  listOperations(
    request: ListOperationsRequest,
    signal: AbortSignal,
  ): Promise<ListOperationsResponse> {
    const types = [ListOperationsRequest, ListOperationsResponse] as const;
    return this.#call('ListOperations', ...types, request, signal);
  }

  cancelOperations(
    request: CancelOperationsRequest,
    signal: AbortSignal,
  ): Promise<CancelOperationsResponse> {
    const types = [CancelOperationsRequest, CancelOperationsResponse] as const;
    return this.#call('CancelOperations', ...types, request, signal);
  }

  listQuarantinedActions(signal: AbortSignal): Promise<ListQuarantinedActionsResponse> {
    const types = [ListQuarantinedActionsRequest, ListQuarantinedActionsResponse] as const;
    return this.#call('ListQuarantinedActions', ...types, {}, signal);
  }

  releaseAction(
    request: ReleaseActionRequest,
    signal: AbortSignal,
  ): Promise<ReleaseActionResponse> {
    return this.#call(
      'ReleaseAction',
      ReleaseActionRequest,
      ReleaseActionResponse,
      request,
      signal,
    );
  }

  #call<Q, S>(
    method: string,
    request: Encodable<Q>,
    response: Decodable<S>,
    message: Q,
    signal: AbortSignal,
  ): Promise<S> {
    const rpc: Rpc<Q, S> = {
      path: `/expbuild.admin.v1.AdminService/${method}`,
      request,
      response,
    };
    return this.#channel.unary(rpc, message, { signal, deadlineMs: DEADLINE_MS });
  }
}
