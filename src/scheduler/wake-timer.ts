import type { Clock } from '../base/clock.ts';

/** One timer that is set to the earliest moment asked for. */
export class WakeTimer {
  readonly #clock: Clock;
  readonly #onWake: () => void;
  #armed: { readonly at: number; readonly stopping: AbortController } | undefined;

  constructor(clock: Clock, onWake: () => void) {
    this.#clock = clock;
    this.#onWake = onWake;
  }

  /** Wakes in so many milliseconds, or before. */
  wakeIn(ms: number): void {
    const at = this.#clock.now() + ms;
    if (this.#armed && this.#armed.at <= at) return;
    this.stop();
    const armed = { at, stopping: new AbortController() };
    this.#armed = armed;
    this.#clock.sleep(ms, armed.stopping.signal).then(
      () => {
        if (this.#armed !== armed) return;
        this.#armed = undefined;
        this.#onWake();
      },
      () => {}, // Stopped.
    );
  }

  stop(): void {
    this.#armed?.stopping.abort();
    this.#armed = undefined;
  }
}
