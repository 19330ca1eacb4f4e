import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { type Clock, slept } from '../base/clock.ts';
import { fieldOf, type Log } from '../base/log.ts';

/** A call that is open. */
interface Answering {
  readonly stream: ServerHttp2Stream;
  readonly headers: IncomingHttpHeaders;
  /** Since when something waits for the client, as far as has been seen. */
  waitsSince: number | undefined;
}

/**
 * Resets calls whose client takes nothing of what is ready for it, as each keeps a piece of it in memory and
 * what it is read from open. Calls that wait for the server are left alone, however long.
 */
export class UnreadAnswers {
  readonly #limitMs: number;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #answering = new Set<Answering>();
  readonly #closing = new AbortController();
  #isLooking = false;

  /** A call ends when no message has left for `limitMs`, and for half as long again at most. */
  constructor(limitMs: number, clock: Clock, log: Log) {
    this.#limitMs = limitMs;
    this.#clock = clock;
    this.#log = log;
  }

  watch(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    const answering: Answering = { stream, headers, waitsSince: undefined };
    this.#answering.add(answering);
    // grpc-js writes a message when the one before has left. 'drain' does not tell of small ones.
    const write = stream.write.bind(stream) as (...args: unknown[]) => boolean;
    stream.write = (...args: unknown[]) => {
      answering.waitsSince = undefined;
      return write(...args);
    };
    stream.once('close', () => this.#answering.delete(answering));
    if (!this.#isLooking) void this.#look();
  }

  close(): void {
    this.#closing.abort();
  }

  /** One timer for all calls, while there are any. */
  async #look(): Promise<void> {
    this.#isLooking = true;
    while (this.#answering.size > 0) {
      if (!(await slept(this.#limitMs / 2, this.#clock, this.#closing.signal))) break;
      for (const answering of this.#answering) this.#check(answering);
    }
    this.#isLooking = false;
  }

  #check(answering: Answering): void {
    const { stream, headers } = answering;
    if (stream.writableLength === 0) {
      answering.waitsSince = undefined;
      return;
    }
    const now = this.#clock.now();
    answering.waitsSince ??= now;
    if (now - answering.waitsSince < this.#limitMs) return;
    this.#log.info('call failed', {
      method: fieldOf(headers[':path']),
      code: 'CANCELLED',
      error: `the client took nothing of the answer for ${this.#limitMs / 1000} s`,
    });
    stream.close(constants.NGHTTP2_CANCEL);
  }
}
