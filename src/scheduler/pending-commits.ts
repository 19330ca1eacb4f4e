import assert from 'node:assert/strict';
import type { StatusError } from '../base/status.ts';
import type { ExecuteResponse } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Deadlines } from './deadlines.ts';
import { endedBy } from './endings.ts';
import type { ActionRequest } from './operations.ts';
import type { Run } from './run.ts';
import type { RunIndex } from './run-index.ts';
import type { SchedulerOptions } from './scheduler-options.ts';
import type { SteadyTime } from './steady-time.ts';

/** A result that is to be stored. */
export interface PendingCommit {
  readonly runId: string;
  /** Goes back with the outcome, so that a late one is known. */
  readonly epoch: number;
  readonly request: ActionRequest;
  readonly response: ExecuteResponse;
}

export interface PendingCommitsOptions {
  readonly time: SteadyTime;
  readonly deadlines: Deadlines;
  readonly runIndex: RunIndex;
  readonly limits: Pick<SchedulerOptions, 'commitAttemptsMax' | 'commitRetryMs'>;
}

/** Results on their way into the store: which are to be stored next, and how often that is tried. */
export class PendingCommits {
  readonly #options: PendingCommitsOptions;
  #next: PendingCommit[] = [];

  constructor(options: PendingCommitsOptions) {
    this.#options = options;
  }

  /** The run's result is to be stored. */
  add({ id: runId, epoch, request }: Run, response: ExecuteResponse): void {
    this.#next.push({ runId, epoch, request, response });
  }

  /** The run whose result was to be stored; undefined when that is of no interest any more. */
  findRun({ runId, epoch }: Pick<PendingCommit, 'runId' | 'epoch'>): Run | undefined {
    const run = this.#options.runIndex.find(runId);
    return run?.place.kind === 'committing' && run.epoch === epoch ? run : undefined;
  }

  /** Storing it is tried again later: undefined. After too many tries, what the run is to end with (SC-14). */
  failed(run: Run, error: StatusError): ExecuteResponse | undefined {
    const { limits, deadlines, time } = this.#options;
    assert.equal(run.place.kind, 'committing');
    const { lease, response } = run.place;
    const failures = run.place.failures + 1;
    if (failures >= limits.commitAttemptsMax) {
      return endedBy(
        error.code,
        `storing the result of action ${run.request.action}: ${error.message}`,
        error.details,
      );
    }
    run.place = { kind: 'committing', lease, response, failures };
    deadlines.add(time.now + limits.commitRetryMs, () => {
      if (this.findRun({ runId: run.id, epoch: lease.epoch })) this.add(run, response);
    });
    return undefined;
  }

  /** Those that came to be stored since the last time. */
  take(): readonly PendingCommit[] {
    const next = this.#next;
    this.#next = [];
    return next;
  }
}
