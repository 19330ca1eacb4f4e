import type { Digest } from '../digest/digest.ts';
import type { RequestMetadata } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { ActionRequest } from './operations.ts';
import type { Done } from './run.ts';

/** What a restart must know of a run. */
export interface StoredRun {
  readonly id: string;
  readonly request: ActionRequest;
  readonly queuedAt: number;
  readonly order: number;
  readonly priority: number;
  readonly epoch: number;
  readonly losses: number;
  readonly failures: number;
  readonly refusals: number;
  readonly avoided: readonly string[];
  /** Bytes of memory that were too little for it; 0 when it has not run out of memory. */
  readonly memoryAbove: number;
  /** Undefined while it is queued. */
  readonly lease: StoredLease | undefined;
}

export interface StoredLease {
  readonly id: string;
  readonly workerId: string;
  readonly bootId: string;
}

/** What a restart must know of an operation: it waits for a run, or it is done. */
export interface StoredOperation {
  readonly name: string;
  readonly instanceName: string;
  readonly action: Digest;
  readonly requestMetadata: RequestMetadata | undefined;
  readonly runId: string | undefined;
  readonly done: Done | undefined;
  /** Nobody can ask for it any more; its run goes on. */
  readonly isDeleted: boolean;
}

export interface StoredScheduler {
  readonly runs: readonly StoredRun[];
  /** Oldest first. */
  readonly operations: readonly StoredOperation[];
  /** Workers that are to get nothing, by name. */
  readonly drainedWorkers: readonly string[];
  readonly terminatingWorkers: readonly StoredStart[];
}

/** One start of a worker: an operator wants that process to end, not the next one of its name. */
export interface StoredStart {
  readonly workerId: string;
  readonly bootId: string;
}

/** What has become different since the last write. */
export interface OperationChanges extends Omit<
  StoredScheduler,
  'drainedWorkers' | 'terminatingWorkers'
> {
  /** All of them; undefined when they are as before. */
  readonly drainedWorkers: readonly string[] | undefined;
  /** As above. */
  readonly terminatingWorkers: readonly StoredStart[] | undefined;
  readonly endedRuns: readonly string[];
  readonly forgottenOperations: readonly string[];
}

/** Keeps the scheduler's state through restarts and crashes. */
export interface OperationRows {
  /** All that was written and is not ended or forgotten. */
  load(): StoredScheduler;
  /** Keeps all of it or nothing: when it returns, a power cut no longer undoes it. */
  write(changes: OperationChanges): void;
}
