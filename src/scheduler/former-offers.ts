import { matches, type Offered, type Requirements } from './platform.ts';

/** Kinds of workers; a farm has a few. Whoever has more has one name for each worker among them. */
const offersMax = 1_000;

/** What workers offered that have left: who needs that has made no mistake, and may come back later. */
export class FormerOffers {
  /** Those that left longest ago first. */
  readonly #byKey = new Map<string, Offered>();

  add(offered: Offered): void {
    const values = [...offered.values].map(([name, all]) => [name, [...all].toSorted()]);
    const key = JSON.stringify([
      values,
      [...offered.capacities],
      [...offered.actionMaxes],
      offered.actionMemoryMax,
    ]);
    this.#byKey.delete(key);
    this.#byKey.set(key, offered);
    if (this.#byKey.size <= offersMax) return;
    const [oldest] = this.#byKey.keys();
    if (oldest !== undefined) this.#byKey.delete(oldest);
  }

  hasAny(requirements: Requirements): boolean {
    return [...this.#byKey.values()].some((offered) => matches(requirements, offered));
  }
}
