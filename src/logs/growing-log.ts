import type { Chunks } from '../base/chunks.ts';
import { Code, StatusError } from '../base/status.ts';
import { orAborted } from '../base/until-aborted.ts';
import type { LogBytes, LogReader } from './log-bytes.ts';
import type { LogRange, LogStatus } from './log-streams.ts';

/** Few calls for what is far behind, and little memory for each reader. */
const READ_BYTES_MAX = 256 * 1024;

/** What one stream holds. Each reader reads by itself, so none holds up the writer (LOG-08). */
export class GrowingLog {
  readonly #bytes: LogBytes;
  /** How many of so many further bytes there is room for. */
  readonly #reserve: (bytes: number) => number;
  #committedBytes = 0;
  #isFinished = false;
  #isRemoved = false;
  #change = Promise.withResolvers<void>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(bytes: LogBytes, reserve: (bytes: number) => number) {
    this.#bytes = bytes;
    this.#reserve = reserve;
  }

  get status(): LogStatus {
    return { committedBytes: this.#committedBytes, isFinished: this.#isFinished };
  }

  /** Appends after all that was asked for before; fails as `LogStreams.write` does. */
  append(offset: number, bytes: Uint8Array): Promise<void> {
    return this.#next(async () => {
      this.check(offset);
      const room = this.#reserve(bytes.length);
      await this.#bytes.write(bytes.subarray(0, room), offset);
      this.#committedBytes += room;
      this.#changed();
      if (room === bytes.length) return;
      await this.#end();
      throw new StatusError(
        Code.RESOURCE_EXHAUSTED,
        `there is no room for more than ${this.#committedBytes} bytes of the log stream`,
      );
    });
  }

  /** Fails when nothing may be appended at `offset` (LOG-04, LOG-05). */
  check(offset: number): void {
    if (this.#isFinished) {
      throw new StatusError(Code.FAILED_PRECONDITION, 'the log stream is finished');
    }
    if (offset === this.#committedBytes) return;
    throw new StatusError(
      Code.OUT_OF_RANGE,
      `the log stream has ${this.#committedBytes} bytes; the next ones cannot be at ${offset}`,
    );
  }

  /** Nothing is added from now on. */
  finish(): Promise<void> {
    return this.#next(() => this.#end());
  }

  /** Those who read it may read on; nobody else can. */
  remove(): Promise<void> {
    return this.#next(async () => {
      this.#isRemoved = true;
      await this.#end();
      await this.#bytes.remove();
    });
  }

  async *read({ offset, limitBytes }: LogRange, signal: AbortSignal): Chunks {
    const endAt = limitBytes === 0 ? Infinity : offset + limitBytes;
    let reader: LogReader | undefined;
    try {
      for (let at = offset; at < endAt;) {
        signal.throwIfAborted();
        const bytesMax = Math.min(this.#committedBytes - at, endAt - at, READ_BYTES_MAX);
        if (bytesMax > 0) {
          reader ??= await this.#openReader();
          const chunk = await reader.read(at, bytesMax);
          at += chunk.length;
          yield chunk;
        } else if (this.#isFinished) {
          if (at > this.#committedBytes) throw beyondTheEnd(at, this.#committedBytes);
          return;
        } else {
          await orAborted(this.#change.promise, signal);
        }
      }
    } finally {
      await reader?.close();
    }
  }

  #openReader(): Promise<LogReader> {
    if (this.#isRemoved) throw new StatusError(Code.NOT_FOUND, 'the log stream is forgotten');
    return this.#bytes.openReader();
  }

  async #end(): Promise<void> {
    if (this.#isFinished) return;
    this.#isFinished = true;
    this.#changed();
    await this.#bytes.close();
  }

  #changed(): void {
    this.#change.resolve();
    this.#change = Promise.withResolvers();
  }

  /** One after the other, also when one fails. */
  #next<T>(act: () => Promise<T>): Promise<T> {
    const acted = this.#last.then(act);
    this.#last = acted.catch(() => {});
    return acted;
  }
}

function beyondTheEnd(at: number, sizeBytes: number): StatusError {
  return new StatusError(
    Code.OUT_OF_RANGE,
    `the log stream ends after ${sizeBytes} bytes; there is nothing at ${at}`,
  );
}
