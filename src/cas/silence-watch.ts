import type { Clock } from '../base/clock.ts';
import type { StatusError } from '../base/status.ts';
import { orAborted } from '../base/until-aborted.ts';

/** Gives up a client that is waited for and sends nothing; dispose of it when the upload ends. */
export class SilenceWatch implements Disposable {
  readonly #silent = new AbortController();
  readonly #over = new AbortController();
  /** When the wait for the client began; undefined while nobody waits for it. */
  #waitsSince: number | undefined;
  readonly #clock: Clock;

  constructor(clock: Clock, limitMs: number, reason: () => StatusError) {
    this.#clock = clock;
    this.#watch(limitMs, reason).catch(() => {});
  }

  /** What the client sends next; fails with the reason once it is silent for as long as the limit. */
  async hear<T>(next: Promise<T>): Promise<T> {
    this.#waitsSince = this.#clock.now();
    try {
      return await orAborted(next, this.#silent.signal);
    } finally {
      this.#waitsSince = undefined;
    }
  }

  [Symbol.dispose](): void {
    this.#over.abort();
  }

  /** One timer for each upload, not for each of its messages. */
  async #watch(limitMs: number, reason: () => StatusError): Promise<void> {
    for (let leftMs = limitMs; leftMs > 0;) {
      await this.#clock.sleep(leftMs, this.#over.signal);
      const now = this.#clock.now();
      leftMs = (this.#waitsSince ?? now) + limitMs - now;
    }
    this.#silent.abort(reason());
  }
}
