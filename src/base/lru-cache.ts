/** Values by key, the ones used last, within a number of bytes. */
export class LruCache<Value> {
  /** In the order of use: a Map keeps the order in which keys were added. */
  readonly #entries = new Map<string, { readonly value: Value; readonly sizeBytes: number }>();
  readonly #maxSizeBytes: number;
  #sizeBytes = 0;

  constructor(maxSizeBytes: number) {
    this.#maxSizeBytes = maxSizeBytes;
  }

  /** The value, if it is still here; it counts as used just now. */
  find(key: string): Value | undefined {
    const entry = this.#entries.get(key);
    if (!entry) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.value;
  }

  /** Keeps `value` in place of an earlier one, unless it is larger than all there is room for. */
  set(key: string, value: Value, sizeBytes: number): void {
    this.delete(key);
    if (sizeBytes > this.#maxSizeBytes) return;
    this.#entries.set(key, { value, sizeBytes });
    this.#sizeBytes += sizeBytes;
    for (const oldest of this.#entries.keys()) {
      if (this.#sizeBytes <= this.#maxSizeBytes) return;
      this.delete(oldest);
    }
  }

  delete(key: string): void {
    const entry = this.#entries.get(key);
    if (!entry) return;
    this.#entries.delete(key);
    this.#sizeBytes -= entry.sizeBytes;
  }
}
