interface Pin {
  count: number;
  heldBytes: number;
}

/** What is being read or written now, and therefore must not be evicted (CAS-61). */
export class Pins {
  readonly #pins = new Map<string, Pin>();
  /** What eviction cannot free of the space that stored blobs take. */
  heldBytes = 0;

  /** Pins `key`, which holds so much space that is taken already, until the function it gives is called. */
  pin(key: string, heldBytes: number): () => void {
    const pin = this.#pins.get(key) ?? { count: 0, heldBytes: 0 };
    this.#pins.set(key, pin);
    pin.count++;
    this.#hold(pin, Math.max(pin.heldBytes, heldBytes));
    return () => {
      pin.count--;
      if (pin.count > 0) return;
      this.#hold(pin, 0);
      this.#pins.delete(key);
    };
  }

  count(key: string): number {
    return this.#pins.get(key)?.count ?? 0;
  }

  #hold(pin: Pin, heldBytes: number): void {
    this.heldBytes += heldBytes - pin.heldBytes;
    pin.heldBytes = heldBytes;
  }
}
