import type { Clock } from '../base/clock.ts';
import { Permits } from '../base/permits.ts';
import { Code, StatusError } from '../base/status.ts';
import { orAborted } from '../base/until-aborted.ts';
import { withDeadline } from '../base/with-deadline.ts';
import { OriginFailure } from './origin-failure.ts';

export interface OriginFetchesOptions {
  /** Fetches at once; more wait their turn. */
  readonly atOnceMax: number;
  /** Those that wait included; more are refused. */
  readonly acceptedMax: number;
}

export const defaultOriginFetchesOptions: OriginFetchesOptions = {
  // Four Bazels with the eight downloads that each makes at once.
  atOnceMax: 32,
  // All external repositories of some large workspaces.
  acceptedMax: 1000,
};

interface Running<T> {
  readonly startedAt: number;
  readonly result: Promise<T>;
}

/**
 * Fetches under way. One goes on when the call that asked for it has ended, so that a retry finds its
 * result (AST-15), and serves all who ask for the same meanwhile (AST-16).
 */
export class OriginFetches<T> {
  readonly #options: OriginFetchesOptions;
  readonly #clock: Clock;
  readonly #permits: Permits;
  readonly #running = new Map<string, Running<T>>();
  readonly #all = new Set<Promise<T>>();
  readonly #closing = new AbortController();

  constructor(clock: Clock, options: OriginFetchesOptions = defaultOriginFetchesOptions) {
    this.#clock = clock;
    this.#options = options;
    this.#permits = new Permits(options.atOnceMax);
  }

  /**
   * The result of `fetch`, or of one under way with the same `key` that began at `notBefore` or later.
   * Waits no longer than `signal`. What `fetch` is given aborts after `timeoutMs`, with an OriginFailure,
   * and when the server stops. UNAVAILABLE when there are too many.
   */
  run(
    key: string,
    { timeoutMs, notBefore }: { readonly timeoutMs: number; readonly notBefore: number },
    fetch: (signal: AbortSignal) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    const running = this.#running.get(key);
    if (running && running.startedAt >= notBefore) return orAborted(running.result, signal);
    this.#closing.signal.throwIfAborted();
    if (this.#all.size >= this.#options.acceptedMax) {
      throw new StatusError(
        Code.UNAVAILABLE,
        `${this.#options.acceptedMax} assets are being fetched already; try again later`,
      );
    }
    const started = { startedAt: this.#clock.now(), result: this.#start(timeoutMs, fetch) };
    this.#running.set(key, started);
    this.#all.add(started.result);
    const forget = () => {
      this.#all.delete(started.result);
      if (this.#running.get(key) === started) this.#running.delete(key);
    };
    // Whoever asked may be gone when it fails.
    started.result.then(forget, forget);
    return orAborted(started.result, signal);
  }

  /** Ends what is under way, and waits until it has ended. */
  async close(): Promise<void> {
    this.#closing.abort(new StatusError(Code.UNAVAILABLE, 'the server is stopping'));
    await Promise.allSettled(this.#all);
  }

  #start(timeoutMs: number, fetch: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const late = () =>
      new OriginFailure(
        Code.DEADLINE_EXCEEDED,
        `the fetch was not done within ${timeoutMs / 1000} s`,
      );
    const inTurn = (either: AbortSignal) => this.#permits.hold(() => fetch(either), either);
    return withDeadline(timeoutMs, late, inTurn, this.#clock, this.#closing.signal);
  }
}
