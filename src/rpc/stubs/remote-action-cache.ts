import type { ActionCache } from '../../action-cache/action-cache.ts';
import { Code, StatusError } from '../../base/status.ts';
import type { Digest } from '../../digest/digest.ts';
import {
  ActionResult,
  GetActionResultRequest,
  UpdateActionResultRequest,
} from '../../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Channel, Rpc } from './channel.ts';
import { withRetries } from './retries.ts';

/** A result may have 4 MiB, and the server asks for all its blobs before it answers. */
const DEADLINE_MS = 60_000;

const getActionResult: Rpc<GetActionResultRequest, ActionResult> = {
  path: '/build.bazel.remote.execution.v2.ActionCache/GetActionResult',
  request: GetActionResultRequest,
  response: ActionResult,
};

const updateActionResult: Rpc<UpdateActionResultRequest, ActionResult> = {
  path: '/build.bazel.remote.execution.v2.ActionCache/UpdateActionResult',
  request: UpdateActionResultRequest,
  response: ActionResult,
};

/** The action cache of an instance behind a server. */
export class RemoteActionCache implements ActionCache {
  readonly #channel: Channel;
  readonly #instanceName: string;

  constructor(channel: Channel, instanceName: string) {
    this.#channel = channel;
    this.#instanceName = instanceName;
  }

  async find(action: Digest, signal: AbortSignal): Promise<ActionResult | undefined> {
    const request = GetActionResultRequest.fromPartial(this.#key(action));
    try {
      return await this.#call(getActionResult, request, signal);
    } catch (thrown) {
      if (StatusError.from(thrown).code === Code.NOT_FOUND) return undefined;
      throw thrown;
    }
  }

  async update(action: Digest, result: ActionResult, signal: AbortSignal): Promise<void> {
    const request = UpdateActionResultRequest.fromPartial({
      ...this.#key(action),
      actionResult: result,
    });
    await this.#call(updateActionResult, request, signal);
  }

  #key(action: Digest) {
    return {
      instanceName: this.#instanceName,
      actionDigest: action.toMessage(),
      digestFunction: action.function.value,
    };
  }

  #call<Q>(rpc: Rpc<Q, ActionResult>, request: Q, signal: AbortSignal): Promise<ActionResult> {
    const attempt = () => this.#channel.unary(rpc, request, { signal, deadlineMs: DEADLINE_MS });
    return withRetries(this.#channel.retries, attempt, signal);
  }
}
