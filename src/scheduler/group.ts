import { Heap, type HeapEntry } from './heap.ts';
import type { Invocation } from './invocations.ts';
import type { Run } from './run.ts';

/** The runs of one invocation in a group, the most urgent first. */
interface Line {
  readonly invocation: Invocation;
  readonly runs: Heap<Run>;
  /** What the invocation would have had after its first run, when that was looked at last. */
  used: number;
}

/** Slot-milliseconds that do not matter: else all that are level would be looked at each time. */
const unfairMs = 250;

/** A run's place in a group, for one of the invocations that asked for it. */
export interface Standing {
  readonly group: Group;
  readonly invocation: Invocation;
  readonly entry: HeapEntry<Run>;
}

/** Whose turn it is. */
export interface Turn {
  readonly group: Group;
  readonly invocation: Invocation;
  readonly run: Run;
  /** What the invocation would have had after it. */
  readonly used: number;
}

/** Runs of a queue that avoid the same workers: what one of them cannot get, none of them can. */
export class Group {
  readonly avoided: ReadonlySet<string>;
  readonly #isBefore: (a: Run, b: Run) => boolean;
  /** Whoever has had least comes first. Time makes it more, never less: who is first is looked at again. */
  readonly #order: Heap<Line>;
  readonly #lines = new Map<Invocation, HeapEntry<Line>>();

  constructor(avoided: ReadonlySet<string>, isBefore: (a: Run, b: Run) => boolean) {
    this.avoided = avoided;
    this.#isBefore = isBefore;
    this.#order = new Heap((a, b) => this.#goesBefore(a, b));
  }

  get isEmpty(): boolean {
    return this.#lines.size === 0;
  }

  add(run: Run, invocation: Invocation): Standing {
    const line = this.#lines.get(invocation)?.value ?? {
      invocation,
      runs: new Heap<Run>(this.#isBefore),
      used: 0,
    };
    const entry = line.runs.add(run);
    const place = this.#lines.get(invocation);
    if (!place) this.#lines.set(invocation, this.#order.add(line));
    else if (line.runs.first === run) this.#lookAgain(place);
    return { group: this, invocation, entry };
  }

  remove({ invocation, entry }: Standing): void {
    const place = this.#lines.get(invocation);
    if (!place) return;
    const { runs } = place.value;
    const wasFirst = runs.first === entry.value;
    // While the line still has a first run: the order is by that.
    if (runs.size === 1) {
      this.#order.remove(place);
      this.#lines.delete(invocation);
    }
    runs.remove(entry);
    if (wasFirst && runs.size > 0) this.#lookAgain(place);
  }

  /** The invocation's runs stopped: it has less than was thought. */
  cheaper(invocation: Invocation): void {
    const place = this.#lines.get(invocation);
    if (place) this.#lookAgain(place);
  }

  first(now: number): Turn | undefined {
    for (;;) {
      const line = this.#order.first;
      const run = line?.runs.first;
      if (!line || !run) return undefined;
      const { invocation } = line;
      const used = invocation.afterNext(run.priority, now);
      if (used <= line.used + unfairMs) return { group: this, invocation, run, used };
      line.used = used;
      const place = this.#lines.get(invocation);
      if (place) this.#order.moved(place);
    }
  }

  /** Until it is first, when the true number is found. */
  #lookAgain(place: HeapEntry<Line>): void {
    place.value.used = 0;
    this.#order.moved(place);
  }

  #goesBefore(a: Line, b: Line): boolean {
    if (a.used !== b.used) return a.used < b.used;
    const [first, second] = [a.runs.first, b.runs.first];
    return first !== undefined && second !== undefined && this.#isBefore(first, second);
  }
}
