import type { Clock } from '../base/clock.ts';
import type { NewId } from '../base/id.ts';
import type { Log } from '../base/log.ts';
import { Code, StatusError } from '../base/status.ts';
import type { Digest } from '../digest/digest.ts';
import type { ExecuteResponse } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { DesiredState, WorkerState } from '../proto/expbuild/worker/v1/worker.ts';
import type {
  Administration,
  OperationSelection,
  WorkerSelection,
  WorkerView,
  WorkerWish,
} from './administration.ts';
import { LatestSlot } from './latest-slot.ts';
import type { OperationRows } from './operation-rows.ts';
import { OperationWatchers } from './operation-watchers.ts';
import type { ActionRequest, Commit, Operations, OperationState } from './operations.ts';
import type { PendingCommit } from './runs.ts';
import type { QuarantinedAction } from './quarantine.ts';
import { Scheduler } from './scheduler.ts';
import { defaultSchedulerOptions, type SchedulerOptions } from './scheduler-options.ts';
import { WakeTimer } from './wake-timer.ts';
import type { Session } from './worker.ts';
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

interface Connection {
  readonly slot: LatestSlot<DesiredState>;
  /** Undefined until the worker has said who it is. */
  session: Session | undefined;
}

interface Settling {
  readonly resolve: () => void;
  readonly reject: (error: StatusError) => void;
}

/**
 * The scheduler of this process: a `Scheduler`, and what it must not have: rows, a timer, streams.
 * Nobody hears of a change before it is written.
 */
export class LocalScheduler implements WorkQueue, Operations, Administration {
  readonly #options: LocalSchedulerOptions;
  readonly #scheduler: Scheduler;
  readonly #watchers: OperationWatchers;
  readonly #sessions = new Map<Session, LatestSlot<DesiredState>>();
  readonly #commits = new Set<Promise<void>>();
  readonly #timer: WakeTimer;
  readonly #closing = new AbortController();
  #settling: Settling[] = [];
  #isFlushDue = false;
  /** The rows may be gone. */
  #isClosed = false;

  constructor(options: LocalSchedulerOptions) {
    const { clock, newId, limits, rows } = options;
    this.#options = options;
    this.#scheduler = new Scheduler({ clock, newId, limits, stored: rows.load() });
    this.#timer = new WakeTimer(clock, () => this.#wake());
    this.#watchers = new OperationWatchers({
      clock,
      updateEveryMs: options.updateEveryMs,
      find: (name) => this.#scheduler.findWatched(name),
      wakeIn: (ms) => this.#timer.wakeIn(ms),
    });
    this.#flushSoon();
  }

  async enqueue(request: ActionRequest): Promise<OperationState> {
    this.#assertOpen();
    const name = this.#scheduler.enqueue(request);
    try {
      await this.#written();
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
    this.#assertWritten();
    const first = this.#known(name);
    this.#scheduler.watch(name);
    try {
      yield* this.#watchers.watch(first, signal);
    } finally {
      this.#scheduler.unwatch(name);
      this.#flushSoon();
    }
  }

  find(name: string): OperationState | undefined {
    this.#assertWritten();
    return this.#scheduler.find(name);
  }

  list(instanceName: string): readonly OperationState[] {
    this.#assertWritten();
    return this.#scheduler.list(instanceName);
  }

  async cancel(name: string): Promise<void> {
    this.#assertOpen();
    if (!this.#scheduler.cancel(name)) throw unknown(name);
    await this.#written();
  }

  async delete(name: string): Promise<void> {
    this.#assertOpen();
    if (!this.#scheduler.delete(name)) throw unknown(name);
    await this.#written();
  }

  async *connect(
    states: AsyncIterable<WorkerState>,
    signal: AbortSignal,
  ): AsyncIterable<DesiredState> {
    const slot = new LatestSlot<DesiredState>();
    const onAbort = () => slot.end();
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted || this.#closing.signal.aborted) slot.end();
    const reader = states[Symbol.asyncIterator]();
    const connection: Connection = { slot, session: undefined };
    const reading = this.#read(reader, connection);
    try {
      for (;;) {
        const desired = await slot.take();
        if (!desired) return;
        yield desired;
      }
    } finally {
      slot.end();
      signal.removeEventListener('abort', onAbort);
      this.#disconnect(connection);
      // It may wait for a state that never comes, so nothing waits for it.
      void Promise.allSettled([reader.return?.(), reading]);
    }
  }

  workers(): readonly WorkerView[] {
    return this.#scheduler.workers();
  }

  async updateWorkers(selection: WorkerSelection, wish: WorkerWish): Promise<string[]> {
    this.#assertOpen();
    const ids = this.#scheduler.updateWorkers(selection, wish);
    await this.#written();
    return ids;
  }

  operations(selection: OperationSelection, limit: number) {
    this.#assertWritten();
    return this.#scheduler.operations(selection, limit);
  }

  async cancelInvocation(toolInvocationId: string): Promise<string[]> {
    this.#assertOpen();
    const names = this.#scheduler.cancelInvocation(toolInvocationId);
    await this.#written();
    return names;
  }

  quarantined(): readonly QuarantinedAction[] {
    return this.#scheduler.quarantined();
  }

  release(action: Digest): boolean {
    return this.#scheduler.release(action);
  }

  get queuedCount(): number {
    return this.#scheduler.queuedCount;
  }

  /** Ends every stream, and writes what is not written. What is queued or running is not lost. */
  async close(): Promise<void> {
    this.#closing.abort(new StatusError(Code.UNAVAILABLE, 'the scheduler shuts down'));
    for (const slot of this.#sessions.values()) slot.end();
    await Promise.allSettled(this.#commits);
    this.#flush();
    this.#isClosed = true;
    this.#timer.stop();
    this.#watchers.end(this.#closing.signal.reason as Error);
  }

  /** Takes what a worker says until its stream ends, however it does: the worker will come back. */
  async #read(reader: AsyncIterator<WorkerState>, connection: Connection): Promise<void> {
    const { slot } = connection;
    try {
      for (;;) {
        const { done, value } = await reader.next();
        if (done || slot.hasEnded) break;
        this.#hear(connection, value);
        this.#flushSoon();
      }
    } catch (error) {
      this.#options.log.debug('the stream of a worker broke', { error: String(error) });
    }
    slot.end();
  }

  #hear(connection: Connection, state: WorkerState): void {
    if (connection.session) {
      this.#scheduler.report(connection.session, state);
      return;
    }
    try {
      connection.session = this.#scheduler.connect(state);
      this.#sessions.set(connection.session, connection.slot);
      const { worker, results } = connection.session;
      const { log } = this.#options;
      log.info('worker connected', { worker: worker.id, slots: worker.slots });
      if (results.taken + results.late > 0)
        log.info('it brings results of before', { worker: worker.id, ...results });
    } catch (thrown) {
      const refusal = StatusError.from(thrown);
      this.#options.log.warn('a worker was refused', { error: refusal.message });
      connection.slot.end(refusal);
    }
  }

  #disconnect({ session }: Connection): void {
    if (!session) return;
    this.#options.log.info('worker disconnected', { worker: session.worker.id });
    this.#sessions.delete(session);
    this.#scheduler.disconnect(session);
    this.#flushSoon();
  }

  #known(name: string): OperationState {
    const state = this.#scheduler.find(name);
    if (!state) throw unknown(name);
    return state;
  }

  #wake(): void {
    this.#scheduler.wake();
    if (this.#flush()) this.#watchers.wake();
  }

  /** Resolves when all that happened until now is written. */
  #written(): Promise<void> {
    this.#flushSoon();
    return new Promise((resolve, reject) => this.#settling.push({ resolve, reject }));
  }

  /** At the end of this turn of the event loop: what came in with it is written together. */
  #flushSoon(): void {
    if (this.#isFlushDue) return;
    this.#isFlushDue = true;
    setImmediate(() => {
      if (this.#isFlushDue) this.#flush();
    });
  }

  /** Writes what has changed, then tells it to all whom it concerns; false if it cannot be written. */
  #flush(): boolean {
    this.#isFlushDue = false;
    if (this.#isClosed) return true;
    const settling = this.#settling;
    this.#settling = [];
    try {
      this.#scheduler.flush((changes) => this.#options.rows.write(changes));
    } catch (thrown) {
      const error = StatusError.during('recording operations', thrown);
      this.#options.log.error('operations cannot be recorded', { error: error.message });
      for (const { reject } of settling) reject(error);
      this.#timer.wakeIn(flushRetryMs);
      return false;
    }
    for (const { resolve } of settling) resolve();
    this.#tell();
    this.#armTimer();
    return true;
  }

  #tell(): void {
    const { operations, sessions, commits } = this.#scheduler.takeNews();
    for (const state of operations) this.#watchers.tell(state);
    for (const [session, desired] of sessions) {
      const slot = this.#sessions.get(session);
      if (desired) slot?.put(desired);
      else slot?.end();
    }
    for (const pending of commits) this.#commit(pending);
  }

  #armTimer(): void {
    const inMs = this.#scheduler.wakeInMs();
    if (inMs !== undefined) this.#timer.wakeIn(inMs);
  }

  #commit(pending: PendingCommit): void {
    const committing = this.#store(pending).finally(() => {
      this.#commits.delete(committing);
      this.#flushSoon();
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

  /** Before anybody reads a state: it must not be one that a crash would undo. */
  #assertWritten(): void {
    if (this.#flush()) return;
    throw new StatusError(Code.UNAVAILABLE, 'operations cannot be recorded at present');
  }

  #assertOpen(): void {
    if (this.#closing.signal.aborted) throw this.#closing.signal.reason as Error;
  }
}

function unknown(name: string): StatusError {
  return new StatusError(Code.NOT_FOUND, `there is no operation ${name}; it may be forgotten`);
}
