interface Waiter {
  readonly count: number;
  readonly onTurn: () => void;
}

/** A fixed number of permits to do something costly; who finds too few waits in line. */
export class Permits {
  readonly #waiting = new Set<Waiter>();
  #free: number;

  constructor(count: number) {
    this.#free = count;
  }

  /**
   * Runs `work` while it holds `count` permits, of which there must be as many; rejects with the signal's
   * reason when it aborts first.
   */
  async hold<T>(work: () => Promise<T>, signal: AbortSignal, count = 1): Promise<T> {
    await this.#take(count, signal);
    try {
      return await work();
    } finally {
      this.#giveBack(count);
    }
  }

  async #take(count: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#waiting.size === 0 && this.#free >= count) {
      this.#free -= count;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const onTurn = () => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      const waiter = { count, onTurn };
      const onAbort = () => {
        this.#waiting.delete(waiter);
        reject(signal.reason as Error);
        this.#giveBack(0);
      };
      this.#waiting.add(waiter);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  #giveBack(count: number): void {
    this.#free += count;
    for (const waiter of this.#waiting) {
      if (waiter.count > this.#free) return;
      this.#waiting.delete(waiter);
      this.#free -= waiter.count;
      waiter.onTurn();
    }
  }
}
