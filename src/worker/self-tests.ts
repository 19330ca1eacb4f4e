import { type Clock, slept } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import { Code, StatusError } from '../base/status.ts';
import type { Executor } from '../executor/executor.ts';
import type { HeldLeases } from './held-leases.ts';

/**
 * Runs a command in a folder that does not exist yet, to see what it is kept from. Fails, with what is missing,
 * when that is less than it shall be.
 */
export type Proof = (executor: Executor, folder: string, signal: AbortSignal) => Promise<void>;

export interface SelfTestOptions {
  readonly proofs: readonly Proof[];
  readonly proveEveryMs: number;
  /** While a proof fails. */
  readonly proveAgainMs: number;
  readonly log: Log;
}

/** Proves again, time after time, what was proved when the worker started: machines change below it. */
export class SelfTests {
  readonly #options: SelfTestOptions;
  readonly #leases: HeldLeases;
  readonly #clock: Clock;
  readonly #onChange: () => void;
  /** Why commands may not be kept from what they shall be; undefined while all is proved. */
  failedWhy: string | undefined;

  /** `onChange` is called when `failedWhy` is another. */
  constructor(options: SelfTestOptions, leases: HeldLeases, clock: Clock, onChange: () => void) {
    this.#options = options;
    this.#leases = leases;
    this.#clock = clock;
    this.#onChange = onChange;
  }

  /** Until `signal` aborts. Leases that wait for a slot go back when a proof fails; those that run go on. */
  async run(signal: AbortSignal): Promise<void> {
    const { proveEveryMs, proveAgainMs } = this.#options;
    const waitMs = () => (this.failedWhy === undefined ? proveEveryMs : proveAgainMs);
    while (await slept(waitMs(), this.#clock, signal)) await this.#test(signal);
  }

  async #test(signal: AbortSignal): Promise<void> {
    const { proofs, log } = this.#options;
    const before = this.failedWhy;
    try {
      for (const prove of proofs) {
        await this.#leases.borrow((executor, folder) => prove(executor, folder, signal), signal);
      }
      this.failedWhy = undefined;
      if (before !== undefined) log.info('the self-test holds again: actions are taken');
    } catch (thrown) {
      const { code, message } = StatusError.from(thrown);
      // The worker stops: there is no slot for it any more.
      if (signal.aborted || code === Code.CANCELLED) return;
      this.failedWhy = message;
      log.error('the self-test fails: no more actions until it holds', { error: this.failedWhy });
      this.#leases.returnWaiting();
    }
    if (this.failedWhy !== before) this.#onChange();
  }
}
