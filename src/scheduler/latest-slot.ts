/**
 * Hands values from one who has them when they come to one who takes them when it can: only the latest
 * waits, so that a slow reader costs no memory (SC-32).
 */
export class LatestSlot<T> {
  #latest: { readonly value: T } | undefined;
  #end: { readonly error: Error | undefined } | undefined;
  #wake: (() => void) | undefined;

  get hasEnded(): boolean {
    return this.#end !== undefined;
  }

  put(value: T): void {
    this.#latest = { value };
    this.#wake?.();
  }

  /** There will be no more. A value that waits is still taken, unless there is an error. */
  end(error?: Error): void {
    this.#end ??= { error };
    this.#wake?.();
  }

  /** The latest value not taken yet, as soon as there is one; undefined after the end. */
  async take(): Promise<T | undefined> {
    for (;;) {
      if (this.#end?.error) throw this.#end.error;
      const latest = this.#latest;
      this.#latest = undefined;
      if (latest) return latest.value;
      if (this.#end) return undefined;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}
