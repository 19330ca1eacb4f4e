import type { Clock } from '../base/clock.ts';
import type { NewId } from '../base/id.ts';
import type { Log } from '../base/log.ts';
import { Code, StatusError } from '../base/status.ts';
import type { ExecuteResponse } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { DesiredState, WorkerState } from '../proto/expbuild/worker/v1/worker.ts';
import type { Administration } from './administration.ts';
import { LocalAdministration } from './local-administration.ts';
import type { OperationRows } from './operation-rows.ts';
import { OperationWatchers } from './operation-watchers.ts';
import type { ActionRequest, Commit, Operations, OperationState } from './operations.ts';
import type { PendingCommit } from './pending-commits.ts';
import { Recorder } from './recorder.ts';
import { Scheduler } from './scheduler.ts';
import { defaultSchedulerOptions, type SchedulerOptions } from './scheduler-options.ts';
import { WakeTimer } from './wake-timer.ts';
import { WorkerConnections } from './worker-connections.ts';
import type { WorkQueue } from './work-queue.ts';

export interface LocalSchedulerOptions {
  readonly clock: Clock;
  readonly newId: NewId;
  readonly log: Log;
  readonly rows: OperationRows;
  readonly commit: Commit;
  readonly limits: SchedulerOptions;
  /** A watcher hears of its operation at least this often, so that no proxy cuts it (EXE-30). */
  readonly updateEveryMs: number;
}

export const defaultLocalSchedulerOptions = {
  limits: defaultSchedulerOptions,
  updateEveryMs: 30_000,
} as const satisfies Partial<LocalSchedulerOptions>;

/** How long to wait before writing again what could not be written, a full disk being the likely cause. */
const flushRetryMs = 1_000;

/**
 * The scheduler of this process: a `Scheduler`, and what it must not have: rows, a timer, streams.
 * Nobody hears of a change before it is written.
 */
export class LocalScheduler implements WorkQueue, Operations {
  readonly administration: Administration;
  readonly #options: LocalSchedulerOptions;
  readonly #scheduler: Scheduler;
  readonly #recorder: Recorder;
  readonly #watchers: OperationWatchers;
  readonly #workers: WorkerConnections;
  readonly #commits = new Set<Promise<void>>();
  readonly #timer: WakeTimer;
  readonly #closing = new AbortController();

  constructor(options: LocalSchedulerOptions) {
    const { clock, newId, limits, rows, log } = options;
    const { signal } = this.#closing;
    this.#options = options;
    this.#scheduler = new Scheduler({ clock, newId, limits, stored: rows.load() });
    this.#timer = new WakeTimer(clock, () => this.#wake());
    this.#recorder = new Recorder({
      scheduler: this.#scheduler,
      rows,
      log,
      onWritten: () => this.#tell(),
      onFailed: () => this.#timer.wakeIn(flushRetryMs),
    });
    this.#watchers = new OperationWatchers({
      clock,
      updateEveryMs: options.updateEveryMs,
      find: (name) => this.#scheduler.findWatched(name),
      wakeIn: (ms) => this.#timer.wakeIn(ms),
    });
    this.#workers = new WorkerConnections(this.#scheduler, this.#recorder, log, signal);
    this.administration = new LocalAdministration(this.#scheduler, this.#recorder, signal);
    this.#recorder.flushSoon();
  }

  async enqueue(request: ActionRequest): Promise<OperationState> {
    this.#assertOpen();
    const name = this.#scheduler.enqueue(request);
    try {
      await this.#recorder.written();
    } catch (error) {
      this.#scheduler.cancel(name);
      throw error;
    }
    return this.#known(name);
  }

  async complete(request: ActionRequest, response: ExecuteResponse): Promise<OperationState> {
    this.#assertOpen();
    return this.#known(this.#scheduler.complete(request, response));
  }

  async *watch(name: string, signal: AbortSignal): AsyncIterable<OperationState> {
    signal.throwIfAborted();
    this.#assertOpen();
    this.#recorder.assertWritten();
    const first = this.#known(name);
    this.#scheduler.watch(name);
    try {
      yield* this.#watchers.watch(first, signal);
    } finally {
      this.#scheduler.unwatch(name);
      this.#recorder.flushSoon();
    }
  }

  find(name: string): OperationState | undefined {
    this.#recorder.assertWritten();
    return this.#scheduler.find(name);
  }

  list(instanceName: string): readonly OperationState[] {
    this.#recorder.assertWritten();
    return this.#scheduler.list(instanceName);
  }

  async cancel(name: string): Promise<void> {
    this.#assertOpen();
    if (!this.#scheduler.cancel(name)) throw unknown(name);
    await this.#recorder.written();
  }

  async delete(name: string): Promise<void> {
    this.#assertOpen();
    if (!this.#scheduler.delete(name)) throw unknown(name);
    await this.#recorder.written();
  }

  connect(states: AsyncIterable<WorkerState>, signal: AbortSignal): AsyncIterable<DesiredState> {
    return this.#workers.connect(states, signal);
  }

  get queuedCount(): number {
    return this.#scheduler.queuedCount;
  }

  /** Ends every stream, and writes what is not written. What is queued or running is not lost. */
  async close(): Promise<void> {
    this.#closing.abort(new StatusError(Code.UNAVAILABLE, 'the scheduler shuts down'));
    await Promise.allSettled(this.#commits);
    this.#recorder.close();
    this.#timer.stop();
    this.#watchers.end(this.#closing.signal.reason as Error);
  }

  #known(name: string): OperationState {
    const state = this.#scheduler.find(name);
    if (!state) throw unknown(name);
    return state;
  }

  #wake(): void {
    this.#scheduler.wake();
    if (this.#recorder.flush()) this.#watchers.wake();
  }

  /** To all whom it concerns. */
  #tell(): void {
    const { operations, sessions, commits } = this.#scheduler.takeNews();
    for (const state of operations) this.#watchers.tell(state);
    this.#workers.tell(sessions);
    for (const pending of commits) this.#commit(pending);
    const inMs = this.#scheduler.wakeInMs();
    if (inMs !== undefined) this.#timer.wakeIn(inMs);
  }

  #commit(pending: PendingCommit): void {
    const committing = this.#store(pending).finally(() => {
      this.#commits.delete(committing);
      this.#recorder.flushSoon();
    });
    this.#commits.add(committing);
  }

  async #store(pending: PendingCommit): Promise<void> {
    const { commit, log } = this.#options;
    const { signal } = this.#closing;
    try {
      this.#scheduler.committed(pending, await commit(pending.request, pending.response, signal));
    } catch (thrown) {
      // Its worker will tell the result again after the restart.
      if (signal.aborted) return;
      const error = StatusError.from(thrown);
      log.warn('a result cannot be stored', {
        action: pending.request.action.toString(),
        error: error.message,
      });
      this.#scheduler.commitFailed(pending, error);
    }
  }

  #assertOpen(): void {
    if (this.#closing.signal.aborted) throw this.#closing.signal.reason as Error;
  }
}

function unknown(name: string): StatusError {
  return new StatusError(Code.NOT_FOUND, `there is no operation ${name}; it may be forgotten`);
}
