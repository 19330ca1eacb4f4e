/** A value's place in a heap, to take it out again. */
export interface HeapEntry<T> {
  readonly value: T;
  /** Managed by the heap; -1 once the value has left it. */
  index: number;
}

/** Values of which the first is always at hand; adding and removing cost O(log n). */
export class Heap<T> {
  readonly #entries: HeapEntry<T>[] = [];
  readonly #isBefore: (a: T, b: T) => boolean;

  constructor(isBefore: (a: T, b: T) => boolean) {
    this.#isBefore = isBefore;
  }

  get size(): number {
    return this.#entries.length;
  }

  get first(): T | undefined {
    return this.#entries[0]?.value;
  }

  add(value: T): HeapEntry<T> {
    const entry = { value, index: this.#entries.length };
    this.#entries.push(entry);
    this.#rise(entry);
    return entry;
  }

  /** Nothing happens when the entry has left already. */
  remove(entry: HeapEntry<T>): void {
    const { index } = entry;
    if (index < 0) return;
    entry.index = -1;
    const last = this.#entries.pop();
    if (last === undefined || last === entry) return;
    this.#put(last, index);
    this.#rise(last);
    this.#sink(last);
  }

  /** The entry's value compares otherwise than before. */
  moved(entry: HeapEntry<T>): void {
    if (entry.index < 0) return;
    this.#rise(entry);
    this.#sink(entry);
  }

  removeFirst(): T | undefined {
    const first = this.#entries[0];
    if (first) this.remove(first);
    return first?.value;
  }

  #rise(entry: HeapEntry<T>): void {
    while (entry.index > 0) {
      const parent = this.#entries[(entry.index - 1) >> 1];
      if (!parent || !this.#isBefore(entry.value, parent.value)) return;
      this.#swap(parent, entry);
    }
  }

  #sink(entry: HeapEntry<T>): void {
    for (;;) {
      const left = this.#entries[2 * entry.index + 1];
      const right = this.#entries[2 * entry.index + 2];
      const child = left && right && this.#isBefore(right.value, left.value) ? right : left;
      if (!child || !this.#isBefore(child.value, entry.value)) return;
      this.#swap(entry, child);
    }
  }

  #swap(a: HeapEntry<T>, b: HeapEntry<T>): void {
    const { index } = a;
    this.#put(a, b.index);
    this.#put(b, index);
  }

  #put(entry: HeapEntry<T>, index: number): void {
    entry.index = index;
    this.#entries[index] = entry;
  }
}
