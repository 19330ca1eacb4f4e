import type { Log } from '../base/log.ts';
import { Code, StatusError } from '../base/status.ts';
import type { OperationRows } from './operation-rows.ts';
import type { Scheduler } from './scheduler.ts';

export interface RecorderOptions {
  readonly scheduler: Scheduler;
  readonly rows: OperationRows;
  readonly log: Log;
  /** What has changed is written, and may be told. */
  readonly onWritten: () => void;
  /** Nothing could be written; what has changed is kept for the next time. */
  readonly onFailed: () => void;
}

interface Settling {
  readonly resolve: () => void;
  readonly reject: (error: StatusError) => void;
}

/** Writes what changes in a scheduler: together what came in one turn of the event loop. */
export class Recorder {
  readonly #options: RecorderOptions;
  #settling: Settling[] = [];
  #isDue = false;
  #isClosed = false;

  constructor(options: RecorderOptions) {
    this.#options = options;
  }

  /** Resolves when all that happened until now is written; rejects when it cannot be. */
  written(): Promise<void> {
    this.flushSoon();
    return new Promise((resolve, reject) => this.#settling.push({ resolve, reject }));
  }

  /** Before anybody reads a state: UNAVAILABLE when it may be one that a crash would undo. */
  assertWritten(): void {
    if (this.flush()) return;
    throw new StatusError(Code.UNAVAILABLE, 'operations cannot be recorded at present');
  }

  /** At the end of this turn of the event loop. */
  flushSoon(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    setImmediate(() => {
      if (this.#isDue) this.flush();
    });
  }

  /** False if it cannot be written. */
  flush(): boolean {
    this.#isDue = false;
    if (this.#isClosed) return true;
    const { scheduler, rows, log, onWritten, onFailed } = this.#options;
    const settling = this.#settling;
    this.#settling = [];
    try {
      scheduler.flush((changes) => rows.write(changes));
    } catch (thrown) {
      const error = StatusError.during('recording operations', thrown);
      log.error('operations cannot be recorded', { error: error.message });
      for (const { reject } of settling) reject(error);
      onFailed();
      return false;
    }
    for (const { resolve } of settling) resolve();
    onWritten();
    return true;
  }

  /** Writes what is not written, and then never again: the rows may be gone. */
  close(): void {
    this.flush();
    this.#isClosed = true;
  }
}
