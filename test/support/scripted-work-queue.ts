import {
  DesiredState,
  type Lease,
  type WorkerState,
} from '../../src/proto/expbuild/worker/v1/worker.ts';
import type { WorkQueue } from '../../src/scheduler/work-queue.ts';

/** One connection of a worker, in the hands of a test. */
export class ScriptedConnection {
  readonly states: WorkerState[] = [];
  #sequence = 0;
  #heard = Promise.withResolvers<void>();
  readonly #desired: DesiredState[] = [];
  #ended = false;
  #error: Error | undefined;
  #wake = Promise.withResolvers<void>();

  /** Tells the worker what it shall have. */
  send(leases: readonly Lease[], sequence = ++this.#sequence): void {
    const welcome = {
      heartbeatEvery: { seconds: 5, nanos: 0 },
      lostAfter: { seconds: 30, nanos: 0 },
    };
    const isFirst = this.#sequence === 1;
    this.#desired.push(
      DesiredState.fromPartial({
        sequence,
        leases: [...leases],
        welcome: isFirst ? welcome : undefined,
      }),
    );
    this.#wake.resolve();
  }

  end(error?: Error): void {
    this.#ended = true;
    this.#error = error;
    this.#wake.resolve();
  }

  /** The first state from now on, or the present one, of which `test` is true. */
  async until(test: (state: WorkerState) => boolean): Promise<WorkerState> {
    for (;;) {
      const latest = this.states.at(-1);
      if (latest && test(latest)) return latest;
      await this.#heard.promise;
    }
  }

  async *run(
    states: AsyncIterable<WorkerState>,
    signal: AbortSignal,
  ): AsyncGenerator<DesiredState> {
    signal.addEventListener('abort', () => this.end());
    void this.#listen(states);
    for (;;) {
      const next = this.#desired.shift();
      if (next) {
        yield next;
      } else if (this.#ended) {
        if (this.#error) throw this.#error;
        return;
      } else {
        await this.#wake.promise;
        this.#wake = Promise.withResolvers();
      }
    }
  }

  async #listen(states: AsyncIterable<WorkerState>): Promise<void> {
    for await (const state of states) {
      if (this.#ended) return;
      this.states.push(state);
      this.#heard.resolve();
      this.#heard = Promise.withResolvers();
    }
    this.end();
  }
}

/** A scheduler that wants what a test says. */
export class ScriptedWorkQueue implements WorkQueue {
  readonly #connections: ScriptedConnection[] = [];
  #connected = Promise.withResolvers<void>();

  async *connect(
    states: AsyncIterable<WorkerState>,
    signal: AbortSignal,
  ): AsyncIterable<DesiredState> {
    const connection = new ScriptedConnection();
    this.#connections.push(connection);
    this.#connected.resolve();
    this.#connected = Promise.withResolvers();
    yield* connection.run(states, signal);
  }

  get connections(): number {
    return this.#connections.length;
  }

  /** The connection of that number, from 0, once it is made. */
  async connection(index: number): Promise<ScriptedConnection> {
    while (!this.#connections[index]) await this.#connected.promise;
    return this.#connections[index];
  }
}
