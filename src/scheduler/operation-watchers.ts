import type { Clock } from '../base/clock.ts';
import { type Deadline, Deadlines } from './deadlines.ts';
import { LatestSlot } from './latest-slot.ts';
import type { OperationState } from './operations.ts';

export interface OperationWatchersOptions {
  readonly clock: Clock;
  /** A watcher hears of its operation at least this often, so that no proxy cuts it (EXE-30). */
  readonly updateEveryMs: number;
  readonly find: (name: string) => OperationState | undefined;
  /** `wake` is to be called in so many milliseconds, or before. */
  readonly wakeIn: (ms: number) => void;
}

/** Who watches which operation. */
export class OperationWatchers {
  readonly #options: OperationWatchersOptions;
  readonly #slots = new Map<string, Set<LatestSlot<OperationState>>>();
  /** Moments on the clock. */
  readonly #updates = new Deadlines();

  constructor(options: OperationWatchersOptions) {
    this.#options = options;
  }

  /** The states from `first` until the done one, each as soon as it is pulled. */
  async *watch(first: OperationState, signal: AbortSignal): AsyncIterable<OperationState> {
    const { name } = first;
    const slot = new LatestSlot<OperationState>();
    slot.put(first);
    const onAbort = () => slot.end(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
    this.#add(name, slot);
    let update: Deadline | undefined;
    try {
      for (;;) {
        const state = await slot.take();
        update?.cancel();
        if (!state) return;
        yield state;
        if (state.response) return;
        update = this.#updateLater(name, slot);
      }
    } finally {
      update?.cancel();
      signal.removeEventListener('abort', onAbort);
      this.#remove(name, slot);
    }
  }

  tell(state: OperationState): void {
    for (const slot of this.#slots.get(state.name) ?? []) slot.put(state);
  }

  /** Tells those their state again who have not heard for long. */
  wake(): void {
    this.#updates.runDue(this.#options.clock.now());
    const { nextAt } = this.#updates;
    if (nextAt !== undefined) this.#options.wakeIn(nextAt - this.#options.clock.now());
  }

  end(error: Error): void {
    for (const slots of this.#slots.values()) for (const slot of slots) slot.end(error);
  }

  #add(name: string, slot: LatestSlot<OperationState>): void {
    const slots = this.#slots.get(name);
    if (slots) slots.add(slot);
    else this.#slots.set(name, new Set([slot]));
  }

  #remove(name: string, slot: LatestSlot<OperationState>): void {
    const slots = this.#slots.get(name);
    slots?.delete(slot);
    if (slots?.size === 0) this.#slots.delete(name);
  }

  #updateLater(name: string, slot: LatestSlot<OperationState>): Deadline {
    const { clock, updateEveryMs, find, wakeIn } = this.#options;
    wakeIn(updateEveryMs);
    return this.#updates.add(clock.now() + updateEveryMs, () => {
      const state = find(name);
      if (state) slot.put(state);
    });
  }
}
