import type { ActionRequest } from './operations.ts';

/** Beyond so many the newest share one account; looking for whose turn it is costs time for each. */
const invocationsMax = 1_000;

/** Points of priority that halve what a slot costs, and the points that count at most, either way. */
const pointsToHalve = 10;
const pointsMax = 50;

/** What one run is taken to cost when it starts, until it shows what it does. */
const startingCostMs = 1_000;

/** What an invocation may catch up with of the time in which it had no use for its share. */
const creditMsMax = 60_000;

/**
 * What one build has had of the slots, in slot-milliseconds. Urgent runs are cheaper, by half for each ten
 * points of priority: their build gets more of the slots, and no other build gets none (EXE-65).
 */
export class Invocation {
  readonly key: string;
  /** Runs that are not over. */
  runs = 0;
  /** It had a slot before. */
  wasServed = false;
  /** What ended runs have cost. */
  #usedMs: number;
  readonly #started = new Map<object, { readonly at: number; readonly price: number }>();
  /** Over the started runs: the price of all, and of each price the product with when it started. */
  #price = 0;
  #priceTimesStart = 0;

  constructor(key: string, usedMs: number) {
    this.key = key;
    this.#usedMs = usedMs;
  }

  get isAtWork(): boolean {
    return this.#started.size > 0;
  }

  /** What it would have had after starting one more run of that priority. */
  afterNext(priority: number, now: number): number {
    return this.usedMs(now) + startingCostMs * (this.#price + priceOf(priority));
  }

  usedMs(now: number): number {
    return this.#usedMs + now * this.#price - this.#priceTimesStart;
  }

  /** Forgets what it did not use longer ago. */
  limitCredit(leastMs: number, now: number): void {
    this.#usedMs += Math.max(0, leastMs - this.usedMs(now));
  }

  started(run: object, priority: number, now: number): void {
    this.stopped(run, now);
    const price = priceOf(priority);
    this.#started.set(run, { at: now, price });
    this.#price += price;
    this.#priceTimesStart += price * now;
  }

  /** Nothing happens when the run has not started. */
  stopped(run: object, now: number): void {
    const started = this.#started.get(run);
    if (!started) return;
    this.#started.delete(run);
    this.#usedMs += (now - started.at) * started.price;
    this.#price -= started.price;
    this.#priceTimesStart -= started.price * started.at;
    if (this.#started.size > 0) return;
    // What rounding left.
    this.#price = 0;
    this.#priceTimesStart = 0;
  }
}

/** Slots that builds take turns on: a worker's. */
export interface SharedSlots {
  /** What whoever came last to its turn had used by then. */
  levelMs: number;
}

/** The builds that have runs now. */
export class Invocations {
  readonly #byKey = new Map<string, Invocation>();
  /** What whoever came last to its turn had used by then. */
  #levelMs = 0;

  /** The one that the request belongs to; whoever does not name one shares an account. */
  join(request: ActionRequest, now: number): Invocation {
    const invocation = this.#obtain(request, now);
    invocation.runs += 1;
    return invocation;
  }

  /** The same for one more that asks for a run; undefined when it is among those who do. */
  joinAs(
    request: ActionRequest,
    known: readonly Invocation[],
    now: number,
  ): Invocation | undefined {
    if (known.includes(this.#obtain(request, now))) return undefined;
    return this.join(request, now);
  }

  leave(invocation: Invocation): void {
    invocation.runs -= 1;
    if (invocation.runs === 0) this.#byKey.delete(invocation.key);
  }

  /**
   * It is given a slot of the worker now. What it did not use is counted against those who had slots of
   * the same worker: what others have of other workers takes nothing from it, and nothing from its rivals.
   */
  serve(invocation: Invocation, shared: SharedSlots, now: number): void {
    const creditMs = invocation.wasServed ? creditMsMax : 0;
    invocation.wasServed = true;
    invocation.limitCredit(shared.levelMs - creditMs, now);
    shared.levelMs = Math.max(shared.levelMs, invocation.usedMs(now));
    this.#levelMs = Math.max(this.#levelMs, shared.levelMs);
  }

  #obtain({ instanceName, requestMetadata }: ActionRequest, now: number): Invocation {
    const id = requestMetadata?.toolInvocationId ?? '';
    const key = JSON.stringify([instanceName, id]);
    const others = JSON.stringify([instanceName, '']);
    return (
      this.#byKey.get(key) ??
      (this.#byKey.size < invocationsMax
        ? this.#open(key, now)
        : (this.#byKey.get(others) ?? this.#open(others, now)))
    );
  }

  /** Starts level with the one at work that had least. */
  #open(key: string, now: number): Invocation {
    let levelMs: number | undefined;
    for (const other of this.#byKey.values()) {
      if (other.isAtWork) levelMs = Math.min(levelMs ?? Infinity, other.usedMs(now));
    }
    const invocation = new Invocation(key, levelMs ?? this.#levelMs);
    this.#byKey.set(key, invocation);
    return invocation;
  }
}

const prices = Array.from(
  { length: 2 * pointsMax + 1 },
  (_, n) => 2 ** ((n - pointsMax) / pointsToHalve),
);

/** Priorities are whole numbers. */
function priceOf(priority: number): number {
  return prices[Math.max(-pointsMax, Math.min(pointsMax, Math.round(priority))) + pointsMax] ?? 1;
}
