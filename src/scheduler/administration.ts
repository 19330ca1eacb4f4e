import type { Digest } from '../digest/digest.ts';
import type {
  Platform_Property,
  RequestMetadata,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { OperationState } from './operations.ts';
import type { Offered } from './platform.ts';
import type { QuarantinedAction } from './quarantine.ts';

/** What is to become of a worker: draining lasts until it is undone, whatever is restarted. */
export type WorkerWish = 'drain' | 'undrain' | 'terminate';

/** Which workers are meant: those of these names, or all that offer all of these properties. */
export type WorkerSelection =
  | { readonly ids: ReadonlySet<string> }
  | { readonly properties: readonly Platform_Property[] };

/** A worker, for people. */
export interface WorkerView {
  readonly id: string;
  readonly bootId: string;
  readonly softwareVersion: string;
  readonly isolation: string;
  readonly isConnected: boolean;
  /** It shuts down by itself. */
  readonly isDraining: boolean;
  /** Why it takes nothing although it does not shut down; empty when it is well. */
  readonly trouble: string;
  readonly isDrained: boolean;
  readonly isTerminating: boolean;
  /** It failed or refused lately, and gets nothing for a while. */
  readonly isResting: boolean;
  readonly slots: number;
  readonly busySlots: number;
  readonly offered: Offered;
  /** Milliseconds since the Unix epoch; 0 when it was not heard of since a restart. */
  readonly lastSeenAt: number;
  /** The operations that it has. */
  readonly operationNames: readonly string[];
}

/** An operation, for people. */
export interface OperationView {
  readonly state: OperationState;
  readonly waitingReason: string | undefined;
  /** The worker that has it. */
  readonly workerId: string | undefined;
  readonly requestMetadata: RequestMetadata | undefined;
  readonly priority: number;
  /** Milliseconds since the Unix epoch; undefined when it is done. */
  readonly queuedAt: number | undefined;
  /** Workers that were lost, failed or handed it back, or had too little memory. */
  readonly earlierAttempts: number;
  readonly watchers: number;
}

/** Which operations are meant. */
export interface OperationSelection {
  readonly instanceName?: string | undefined;
  readonly toolInvocationId?: string | undefined;
  readonly names?: ReadonlySet<string> | undefined;
  readonly includeDone: boolean;
}

/** The oldest of some operations. */
export interface OperationPage {
  /** Oldest first. */
  readonly listed: readonly OperationView[];
  /** How many there are, listed or not. */
  readonly total: number;
}

/** The scheduler as its operators see it: all instances at once. */
export interface Administration {
  workers(): readonly WorkerView[];
  /** Tells the workers that are meant; their names. */
  updateWorkers(selection: WorkerSelection, wish: WorkerWish): Promise<string[]>;
  /** `limit` at most. */
  operations(selection: OperationSelection, limit: number): OperationPage;
  /** Cancels a build's operations that are not done; their names. */
  cancelInvocation(toolInvocationId: string): Promise<string[]>;
  quarantined(): readonly QuarantinedAction[];
  /** Lets the action run again; false when it was free to. */
  release(action: Digest): boolean;
}
