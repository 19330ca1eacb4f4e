import type { Clock } from '../base/clock.ts';
import { ExecutedActionMetadata } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Timestamp } from '../proto/google/protobuf/timestamp.ts';
import { msOf, timestampOf } from '../scheduler/protobuf-time.ts';

/** The moments of an action, in the order in which they come. */
const moments = [
  'workerStartTimestamp',
  'inputFetchStartTimestamp',
  'inputFetchCompletedTimestamp',
  'executionStartTimestamp',
  'executionCompletedTimestamp',
  'outputUploadStartTimestamp',
  'outputUploadCompletedTimestamp',
  'workerCompletedTimestamp',
] as const;
type Moment = (typeof moments)[number];

/** When each part of an action began and ended. No moment is before an earlier one (RES-26). */
export class ActionTimes {
  readonly #clock: Clock;
  readonly #at = new Map<Moment, number>();
  readonly #base: Pick<ExecutedActionMetadata, 'worker' | 'queuedTimestamp'>;
  #lastAt: number;

  /** The worker starts now. */
  constructor(clock: Clock, worker: string, queuedAt: Timestamp | undefined) {
    this.#clock = clock;
    this.#lastAt = clock.now();
    // The scheduler's clock may be ahead of ours; a length of time below 0 would be worse.
    const queuedMs = queuedAt && msOf(queuedAt);
    const isSound = queuedMs !== undefined && queuedMs <= this.#lastAt;
    this.#base = { worker, queuedTimestamp: isSound ? queuedAt : timestampOf(this.#lastAt) };
    this.mark('workerStartTimestamp');
  }

  mark(moment: Moment): void {
    this.#lastAt = Math.max(this.#lastAt, this.#clock.now());
    this.#at.set(moment, this.#lastAt);
  }

  /** The moments so far. */
  get metadata(): ExecutedActionMetadata {
    const stamps = [...this.#at].map(([moment, ms]) => [moment, timestampOf(ms)]);
    return ExecutedActionMetadata.fromPartial({ ...this.#base, ...Object.fromEntries(stamps) });
  }

  /** All moments: what did not come to pass counts as now, for Bazel takes an unset one as 1970. */
  complete(): ExecutedActionMetadata {
    for (const moment of moments) if (!this.#at.has(moment)) this.mark(moment);
    return this.metadata;
  }
}
