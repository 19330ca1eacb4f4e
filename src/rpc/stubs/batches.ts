import { StatusError } from '../../base/status.ts';

export interface BatchesOptions<Item, Answer> {
  /** Sends a batch; gives an answer or an error for each of its items, in their order. */
  readonly send: (
    items: readonly Item[],
    signal: AbortSignal,
  ) => Promise<readonly (Answer | StatusError)[]>;
  readonly sizeBytesOf: (item: Item) => number;
  readonly sizeBytesMax: number;
  readonly itemsMax: number;
  /** Batches under way at once; what comes meanwhile gathers in the next one. */
  readonly underWayMax: number;
}

interface Entry<Item, Answer> {
  readonly item: Item;
  readonly signal: AbortSignal;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (thrown: unknown) => void;
}

/** Gathers small requests that arrive in one turn of the event loop into few calls. */
export class Batches<Item, Answer> {
  readonly #options: BatchesOptions<Item, Answer>;
  readonly #waiting = new Set<Entry<Item, Answer>>();
  #underWay = 0;
  #scheduled = false;

  constructor(options: BatchesOptions<Item, Answer>) {
    this.#options = options;
  }

  /** The answer to one item. A batch is given up once all who wait for it have been aborted. */
  add(item: Item, signal: AbortSignal): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiting.delete(entry);
        reject(StatusError.from(signal.reason));
      };
      const done = () => signal.removeEventListener('abort', onAbort);
      const entry: Entry<Item, Answer> = {
        item,
        signal,
        resolve: (answer) => (done(), resolve(answer)),
        reject: (thrown) => (done(), reject(StatusError.from(thrown))),
      };
      if (signal.aborted) return onAbort();
      signal.addEventListener('abort', onAbort);
      this.#waiting.add(entry);
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      while (this.#waiting.size > 0 && this.#underWay < this.#options.underWayMax) {
        void this.#send(this.#takeBatch());
      }
    });
  }

  /** As many as fit, the oldest first; at least one. */
  #takeBatch(): Entry<Item, Answer>[] {
    const { sizeBytesOf, sizeBytesMax, itemsMax } = this.#options;
    const batch: Entry<Item, Answer>[] = [];
    let sizeBytes = 0;
    for (const entry of this.#waiting) {
      sizeBytes += sizeBytesOf(entry.item);
      if (batch.length > 0 && (sizeBytes > sizeBytesMax || batch.length === itemsMax)) break;
      this.#waiting.delete(entry);
      batch.push(entry);
    }
    return batch;
  }

  async #send(batch: readonly Entry<Item, Answer>[]): Promise<void> {
    this.#underWay += 1;
    const all = abortedByAll(batch.map(({ signal }) => signal));
    try {
      const items = batch.map(({ item }) => item);
      const answers = await this.#options.send(items, all.signal);
      for (const [index, { resolve, reject }] of batch.entries()) {
        const answer = answers[index] as Answer | StatusError;
        if (answer instanceof StatusError) reject(answer);
        else resolve(answer);
      }
    } catch (thrown) {
      for (const { reject } of batch) reject(thrown);
    } finally {
      all.forget();
      this.#underWay -= 1;
      this.#schedule();
    }
  }
}

/** A signal that aborts with the last of `signals`, as long as it is not forgotten. */
function abortedByAll(signals: readonly AbortSignal[]): {
  readonly signal: AbortSignal;
  readonly forget: () => void;
} {
  const controller = new AbortController();
  const different = new Set(signals);
  const onAbort = () => {
    if ([...different].every(({ aborted }) => aborted)) controller.abort();
  };
  for (const signal of different) signal.addEventListener('abort', onAbort);
  return {
    signal: controller.signal,
    forget: () => {
      for (const signal of different) signal.removeEventListener('abort', onAbort);
    },
  };
}
