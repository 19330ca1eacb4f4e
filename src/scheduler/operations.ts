import type { Digest } from '../digest/digest.ts';
import type {
  ExecuteOperationMetadata,
  ExecuteResponse,
  Platform_Property,
  RequestMetadata,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';

/** An action that is to run: what the scheduler must know of it, and nothing more. */
export interface ActionRequest {
  readonly instanceName: string;
  readonly action: Digest;
  /** How long the command may run. */
  readonly timeoutMs: number;
  /** Its result is not stored, and it is not merged with another request (EXE-35). */
  readonly doNotCache: boolean;
  /** Lower runs sooner; 0 is the default (EXE-14). */
  readonly priority: number;
  readonly properties: readonly Platform_Property[];
  readonly requestMetadata: RequestMetadata | undefined;
  /** Equal for actions that have most of their inputs in common, if known. A restart forgets it. */
  readonly affinityKey?: string | undefined;
  /** For logs: which call asked. A restart forgets it. */
  readonly requestId?: string | undefined;
}

/** An operation at one moment. It is done if and only if it has a response (EXE-26). */
export interface OperationState {
  readonly name: string;
  readonly instanceName: string;
  readonly metadata: ExecuteOperationMetadata;
  readonly response: ExecuteResponse | undefined;
}

/** Stores the result of an action that has run, before anybody hears of it (EXE-38). */
export type Commit = (
  request: ActionRequest,
  response: ExecuteResponse,
  signal: AbortSignal,
) => Promise<ExecuteResponse>;

/** The operations of all instances: the scheduler as whoever asked for an action sees it. */
export interface Operations {
  /** Accepts an action: it will end, whatever happens to this process. The operation's state. */
  enqueue(request: ActionRequest): Promise<OperationState>;
  /**
   * Records an operation that ended without a worker: a cache hit, or an action that cannot run. It can
   * be asked for like any other, but a restart forgets it: it costs a look-up, not a run.
   */
  complete(request: ActionRequest, response: ExecuteResponse): Promise<OperationState>;
  /**
   * The operation's state now, then after each change, then the done state, and no more. Fails with
   * NOT_FOUND when there is no such operation, and with UNAVAILABLE when the scheduler shuts down.
   */
  watch(name: string, signal: AbortSignal): AsyncIterable<OperationState>;
  find(name: string): OperationState | undefined;
  /** Every operation of an instance that is not forgotten yet, oldest first. */
  list(instanceName: string): readonly OperationState[];
  /** Ends the operation with CANCELLED, unless it is done; NOT_FOUND when there is none. */
  cancel(name: string): Promise<void>;
  /**
   * Nobody finds the operation from now on; NOT_FOUND when there is none. Its action is not cancelled,
   * and those who watch it already hear how it ends (OPS-07).
   */
  delete(name: string): Promise<void>;
}
