import type { StatusError } from '../base/status.ts';
import type { Digest } from '../digest/digest.ts';
import type { RequestMetadata } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { OperationState } from '../scheduler/operations.ts';

export interface ExecuteOptions {
  readonly instanceName: string;
  readonly action: Digest;
  readonly skipCacheLookup: boolean;
  /** ExecutionPolicy.priority: lower runs sooner. */
  readonly priority: number;
  readonly inlineStdout: boolean;
  readonly inlineStderr: boolean;
  /** Paths of output files whose contents are wanted in the response. */
  readonly inlineOutputFiles: readonly string[];
  readonly requestMetadata: RequestMetadata | undefined;
  /** For logs: which call asked. */
  readonly requestId?: string | undefined;
  /** Told each time that the action was not taken for now, and is asked for again later. */
  readonly onPostponed?: ((why: StatusError) => void) | undefined;
}

/** Runs actions, here or behind another server. Operations outlive the streams that watch them. */
export interface Execution {
  /** Starts the action; its operation's states, the last one done (EXE-01, EXE-26). */
  execute(options: ExecuteOptions, signal: AbortSignal): AsyncIterable<OperationState>;
  /** The states of an operation from now on; NOT_FOUND when it is unknown (EXE-22, EXE-24). */
  wait(name: string, signal: AbortSignal): AsyncIterable<OperationState>;
  /** Ends the operation with CANCELLED; nothing happens when it is done already (OPS-05). */
  cancel(name: string, signal: AbortSignal): Promise<void>;
}
