import { Heap } from './heap.ts';

/** Something that will happen unless it is cancelled first. */
export interface Deadline {
  /** Nothing happens when it has passed already. */
  cancel(): void;
}

interface Due {
  readonly at: number;
  readonly act: () => void;
}

/** What is to happen at which moment. It has no timer: whoever owns it says what time it is. */
export class Deadlines {
  readonly #heap = new Heap<Due>((a, b) => a.at < b.at);

  /** The moment of the earliest one. */
  get nextAt(): number | undefined {
    return this.#heap.first?.at;
  }

  add(at: number, act: () => void): Deadline {
    const entry = this.#heap.add({ at, act });
    return { cancel: () => this.#heap.remove(entry) };
  }

  /** Does the earliest one, whenever it is due. */
  runNext(): void {
    this.#heap.removeFirst()?.act();
  }

  /** Does all that is due by `now`, the earliest first; also what that adds and is due by then. */
  runDue(now: number): void {
    for (;;) {
      const { nextAt } = this;
      if (nextAt === undefined || nextAt > now) return;
      this.runNext();
    }
  }
}
