import { Code, StatusError } from '../base/status.ts';
import { FormerOffers } from './former-offers.ts';
import {
  findNoAmount,
  matches,
  nothingOffered,
  type Offered,
  type Requirements,
} from './platform.ts';
import type { Worker } from './worker.ts';

/** The workers that queues can count on, and what workers offer or offered not long ago. */
export class KnownWorkers {
  /** Those that may be given something, now or later. */
  readonly #open = new Set<Worker>();
  /** Those that are known, and may not: drained, shutting down, away. */
  readonly #closed = new Set<Worker>();
  readonly #former = new FormerOffers();

  /** Those that may be given something, now or later. */
  get open(): ReadonlySet<Worker> {
    return this.#open;
  }

  all(): Worker[] {
    return [...this.#open, ...this.#closed];
  }

  /** What each of them offers. */
  offers(): Offered[] {
    return this.all().map(({ offered }) => offered);
  }

  /** Counts the worker among those that may be given something, or not, as it is open or not. */
  update(worker: Worker): void {
    (worker.isOpen ? this.#closed : this.#open).delete(worker);
    (worker.isOpen ? this.#open : this.#closed).add(worker);
  }

  forget(worker: Worker): void {
    this.#open.delete(worker);
    this.#closed.delete(worker);
    this.#former.add(worker.offered);
  }

  /** An open worker has what is required. */
  hasOpen(requirements: Requirements): boolean {
    return [...this.#open].some(({ offered }) => matches(requirements, offered));
  }

  /** A worker that has what is required is known, or was not long ago, or may be among those that are away. */
  mayMatch(requirements: Requirements): boolean {
    return (
      // Of those of before a restart it is not known yet.
      this.offers().some(
        (offered) => offered === nothingOffered || matches(requirements, offered),
      ) || this.#former.hasAny(requirements)
    );
  }

  /** Fails with INVALID_ARGUMENT when no wait can help, for what is asked of the workers is no amount. */
  refuseNoAmount(requirements: Requirements): void {
    const wrong = findNoAmount(requirements, this.offers());
    if (!wrong) return;
    const { name, value } = wrong;
    const why = `platform property ${name}=${value.slice(0, 200)} is no amount, such as 2, 500m or 4GiB`;
    throw new StatusError(Code.INVALID_ARGUMENT, why);
  }
}
