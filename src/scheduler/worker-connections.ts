import type { Log } from '../base/log.ts';
import { Code, StatusError } from '../base/status.ts';
import type { DesiredState, WorkerState } from '../proto/expbuild/worker/v1/worker.ts';
import { LatestSlot } from './latest-slot.ts';
import type { Recorder } from './recorder.ts';
import type { Scheduler } from './scheduler.ts';
import type { Session } from './worker.ts';
import type { WorkQueue } from './work-queue.ts';

interface Connection {
  readonly slot: LatestSlot<DesiredState>;
  /** Undefined until the worker has said who it is. */
  session: Session | undefined;
}

/** The streams of the workers of a scheduler. */
export class WorkerConnections implements WorkQueue {
  readonly #scheduler: Scheduler;
  readonly #recorder: Recorder;
  readonly #log: Log;
  /** Aborted when no worker is served any more. */
  readonly #closing: AbortSignal;
  readonly #sessions = new Map<Session, LatestSlot<DesiredState>>();

  constructor(scheduler: Scheduler, recorder: Recorder, log: Log, closing: AbortSignal) {
    this.#scheduler = scheduler;
    this.#recorder = recorder;
    this.#log = log;
    this.#closing = closing;
  }

  async *connect(
    states: AsyncIterable<WorkerState>,
    signal: AbortSignal,
  ): AsyncIterable<DesiredState> {
    const slot = new LatestSlot<DesiredState>();
    const onAbort = () => slot.end();
    const endings = [signal, this.#closing];
    for (const each of endings) each.addEventListener('abort', onAbort, { once: true });
    if (endings.some(({ aborted }) => aborted)) slot.end();
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
      for (const each of endings) each.removeEventListener('abort', onAbort);
      this.#disconnect(connection);
      // It may wait for a state that never comes, so nothing waits for it.
      void Promise.allSettled([reader.return?.(), reading]);
    }
  }

  /** Tells workers what they should be doing now; the streams of sessions that have ended end. */
  tell(news: ReadonlyMap<Session, DesiredState | undefined>): void {
    for (const [session, desired] of news) {
      const slot = this.#sessions.get(session);
      if (desired) slot?.put(desired);
      else slot?.end();
    }
  }

  /** Takes what a worker says until its stream ends, however it does: the worker will come back. */
  async #read(reader: AsyncIterator<WorkerState>, connection: Connection): Promise<void> {
    const { slot } = connection;
    try {
      for (;;) {
        const { done, value } = await reader.next();
        if (done || slot.hasEnded) break;
        this.#hear(connection, value);
        this.#recorder.flushSoon();
      }
    } catch (error) {
      this.#log.debug('the stream of a worker broke', { error: String(error) });
      // What cannot be read is to be told, or the worker would come again with the same.
      if (StatusError.from(error).code === Code.INVALID_ARGUMENT) slot.end(StatusError.from(error));
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
      this.#log.info('worker connected', { worker: worker.id, slots: worker.slots });
      if (results.taken + results.late > 0)
        this.#log.info('it brings results of before', { worker: worker.id, ...results });
    } catch (thrown) {
      const refusal = StatusError.from(thrown);
      this.#log.warn('a worker was refused', { error: refusal.message });
      connection.slot.end(refusal);
    }
  }

  #disconnect({ session }: Connection): void {
    if (!session) return;
    this.#log.info('worker disconnected', { worker: session.worker.id });
    this.#sessions.delete(session);
    this.#scheduler.disconnect(session);
    this.#recorder.flushSoon();
  }
}
