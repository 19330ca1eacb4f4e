import { seededRandom } from '../support/seeded-random.ts';

/** Choices that depend on a seed alone. */
export class Chance {
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
  }

  /** A whole number from 0 to one below `end`. */
  below(end: number): number {
    return Math.floor(this.#random() * end);
  }

  /** True in one of `n` cases. */
  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }

  pick<T>(all: readonly T[]): T {
    if (all.length === 0) throw new Error('there is nothing to choose from');
    return all[this.below(all.length)] as T;
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)));
  }

  shuffled<T>(all: readonly T[]): T[] {
    return all
      .map((value) => ({ value, at: this.#random() }))
      .toSorted((a, b) => a.at - b.at)
      .map(({ value }) => value);
  }
}
