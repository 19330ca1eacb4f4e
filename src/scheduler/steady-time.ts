import type { Clock } from '../base/clock.ts';

/**
 * Time that never goes back and does not pass while the process stands still. A wall clock that is
 * set, or a process that was stopped for a minute, makes nobody late (SC-15, SC-17).
 */
export class SteadyTime {
  readonly #clock: Clock;
  readonly #pauseMs: number;
  #now = 0;
  #wallNow: number;

  /** `pauseMs`: whoever comes so much later than it meant to stood still. */
  constructor(clock: Clock, pauseMs: number) {
    this.#clock = clock;
    this.#pauseMs = pauseMs;
    this.#wallNow = clock.now();
  }

  /** Milliseconds since the start, as of the last `read`. */
  get now(): number {
    return this.#now;
  }

  /** Milliseconds since the Unix epoch, as of the last `read`. */
  get wallNow(): number {
    return this.#wallNow;
  }

  /** Looks at the clock; `nextAt` is when it would have been looked at anyway. */
  read(nextAt: number | undefined): number {
    const wallNow = this.#clock.now();
    const now = this.#now + Math.max(0, wallNow - this.#wallNow);
    this.#wallNow = wallNow;
    const isPaused = nextAt !== undefined && now > nextAt + this.#pauseMs;
    // Whoever is still there gets `pauseMs` to say so before it is judged.
    this.#now = isPaused ? Math.max(this.#now, nextAt - this.#pauseMs) : now;
    return this.#now;
  }

  /** From the last look at the clock until `at`, had time passed since then; 0 when it is past. */
  untilMs(at: number): number {
    return Math.max(0, at - this.#now);
  }
}
