import type { Digest } from '../digest/digest.ts';
import type {
  ExecutedActionMetadata,
  ExecuteResponse,
  RequestMetadata,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { HeldLease_Phase } from '../proto/expbuild/worker/v1/worker.ts';
import type { Deadline } from './deadlines.ts';
import type { Invocation } from './invocations.ts';
import type { ActionRequest } from './operations.ts';
import type { Requirements } from './platform.ts';

/** A client's name for what it asked. Several may wait for the same run. */
export interface Operation {
  readonly name: string;
  readonly instanceName: string;
  readonly action: Digest;
  /** Of whoever asked for it; its run has that of the first who did. */
  readonly requestMetadata: RequestMetadata | undefined;
  /** A restart forgets the others: they cost a look-up, not a run. */
  readonly isDurable: boolean;
  /** Undefined once it is done. */
  run: Run | undefined;
  done: Done | undefined;
  /** Of the lease that it ended with. A restart forgets them, as it does the streams. */
  streams: StreamNames | undefined;
  /** Nobody can ask for it any more; it lasts until its run has ended. */
  isDeleted: boolean;
  watchers: number;
  /** When it is cancelled for want of a watcher, or forgotten. */
  deadline: Deadline | undefined;
}

export interface Done {
  readonly response: ExecuteResponse;
  /** Milliseconds since the Unix epoch. */
  readonly at: number;
}

/** One action on its way through queue and workers, for as long as it has operations. */
export interface Run {
  readonly id: string;
  readonly request: ActionRequest;
  /** Of the action, and once it has run out of memory of more of that. */
  requirements: Requirements;
  /** Milliseconds since the Unix epoch. */
  readonly queuedAt: number;
  /** When it was queued, in the scheduler's own time. */
  readonly enteredAt: number;
  /** Among equal priorities the lowest goes first. */
  readonly order: number;
  /** All that asked for it, each once. */
  readonly invocations: Invocation[];
  /** The one of them whose share it takes: whose turn it was when it was leased. */
  invocation: Invocation;
  readonly operations: Set<Operation>;
  /** The most urgent one of all who asked; lower is sooner. */
  priority: number;
  /** Counts its leases. */
  epoch: number;
  /** Leases that ended because their worker was lost. */
  losses: number;
  /** Leases that ended because their worker could not run the action. */
  failures: number;
  /** Leases that were handed back. */
  refusals: number;
  /** Workers that it should not meet again. */
  readonly avoided: Set<string>;
  /** The lease of its present epoch, also when that is not what it waits for any more. */
  latestLease: GivenLease | undefined;
  place: Place;
}

export type Place =
  | { readonly kind: 'queued' }
  | { readonly kind: 'leased'; readonly lease: GivenLease }
  | {
      readonly kind: 'committing';
      readonly lease: GivenLease;
      readonly response: ExecuteResponse;
      /** Times that storing it failed. */
      readonly failures: number;
    }
  | { readonly kind: 'ended' };

/** Where output of a command can be read while it runs (EXE-63); empty where it cannot. */
export interface StreamNames {
  readonly stdout: string;
  readonly stderr: string;
}

/** A lease, as the scheduler keeps it. */
export interface GivenLease {
  readonly id: string;
  readonly epoch: number;
  readonly run: Run;
  readonly workerId: string;
  /** The start of the worker that has it: a later one may bring its result. */
  bootId: string;
  /** Undefined until the worker has confirmed it. */
  phase: HeldLease_Phase | undefined;
  metadata: ExecutedActionMetadata | undefined;
  /** Undefined until the worker tells them. */
  streams: StreamNames | undefined;
  /** The worker may have heard of it. */
  isSent: boolean;
  /** The first DesiredState of the present session that lists it. */
  offeredIn: number | undefined;
  offer: Deadline | undefined;
}

/** A lease for the worker, which has not heard of it. */
export function newLease(
  run: Run,
  id: string,
  worker: { readonly id: string; readonly bootId: string },
): GivenLease {
  return {
    id,
    epoch: run.epoch,
    run,
    workerId: worker.id,
    bootId: worker.bootId,
    phase: undefined,
    metadata: undefined,
    streams: undefined,
    isSent: false,
    offeredIn: undefined,
    offer: undefined,
  };
}

/** So many points of priority count at most: nobody waits for ever because of who is more urgent. */
const priorityMax = 360;

/**
 * Of one invocation's runs: lower priority first, then who came first (EXE-14, EXE-65). Waiting makes up
 * for it: a point of priority is worth `priorityPointMs`.
 */
export function comesBefore(priorityPointMs: number): (a: Run, b: Run) => boolean {
  const dueAt = ({ priority, enteredAt }: Run) =>
    enteredAt + Math.max(-priorityMax, Math.min(priorityMax, priority)) * priorityPointMs;
  return (a, b) => {
    if (a.priority === b.priority) return a.order < b.order;
    const difference = dueAt(a) - dueAt(b);
    return difference === 0 ? a.order < b.order : difference < 0;
  };
}

/** The streams of the lease that a run has now. */
export function streamsOf({ place }: Run): StreamNames | undefined {
  return 'lease' in place ? place.lease.streams : undefined;
}
