/** What is being read or written now, and therefore must not be evicted (CAS-61). */
export class Pins {
  readonly #counts = new Map<string, number>();

  /** Pins `key` until the function it gives is called. */
  pin(key: string): () => void {
    this.#counts.set(key, this.count(key) + 1);
    return () => {
      const count = this.count(key) - 1;
      if (count > 0) this.#counts.set(key, count);
      else this.#counts.delete(key);
    };
  }

  count(key: string): number {
    return this.#counts.get(key) ?? 0;
  }
}
