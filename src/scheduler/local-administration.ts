import type { Digest } from '../digest/digest.ts';
import type {
  Administration,
  OperationSelection,
  WorkerSelection,
  WorkerWish,
} from './administration.ts';
import type { Recorder } from './recorder.ts';
import type { Scheduler } from './scheduler.ts';

/** A scheduler of this process as its operators see it. What they wish is written before they are told. */
export class LocalAdministration implements Administration {
  readonly #scheduler: Scheduler;
  readonly #recorder: Recorder;
  /** Aborted when the scheduler shuts down. */
  readonly #closing: AbortSignal;

  constructor(scheduler: Scheduler, recorder: Recorder, closing: AbortSignal) {
    this.#scheduler = scheduler;
    this.#recorder = recorder;
    this.#closing = closing;
  }

  workers() {
    return this.#scheduler.workers();
  }

  async updateWorkers(selection: WorkerSelection, wish: WorkerWish): Promise<string[]> {
    this.#closing.throwIfAborted();
    const ids = this.#scheduler.updateWorkers(selection, wish);
    await this.#recorder.written();
    return ids;
  }

  operations(selection: OperationSelection, limit: number) {
    this.#recorder.assertWritten();
    return this.#scheduler.operations(selection, limit);
  }

  async cancelInvocation(toolInvocationId: string): Promise<string[]> {
    this.#closing.throwIfAborted();
    const names = this.#scheduler.cancelInvocation(toolInvocationId);
    await this.#recorder.written();
    return names;
  }

  quarantined() {
    return this.#scheduler.quarantined();
  }

  release(action: Digest): boolean {
    return this.#scheduler.release(action);
  }
}
