import path from 'node:path';
import { type Clock, slept } from '../base/clock.ts';
import type { NewId } from '../base/id.ts';
import type { Log } from '../base/log.ts';
import { Permits } from '../base/permits.ts';
import { StatusError } from '../base/status.ts';
import type { Executor } from '../executor/executor.ts';
import { removeFolder } from './remove-folder.ts';

export interface SlotsOptions {
  /** One for each slot. */
  readonly executors: readonly Executor[];
  /** Holds a folder for each action that runs. */
  readonly folder: string;
  readonly newId: NewId;
  readonly log: Log;
}

/** Something that is done in a slot. Nothing is at the path it gets; what it makes there is removed. */
export type SlotUse = (executor: Executor, folder: string) => Promise<void>;

/** A hand that unmounts something, or a disk that answers again, takes seconds at least. */
const cleanAgainMs = 5_000;

/** Where actions run, one at a time in each slot. A slot is free once all is gone that was made in it (WK-04). */
export class Slots {
  readonly #options: SlotsOptions;
  readonly #clock: Clock;
  readonly #onChange: () => void;
  readonly #free: Executor[];
  readonly #permits: Permits;
  readonly #stopped = new AbortController();
  /** What was left of actions, and why it is still there, by folder. */
  readonly #unclean = new Map<string, string>();

  /** `onChange` is called when `uncleanWhy` may be another. */
  constructor(options: SlotsOptions, clock: Clock, onChange: () => void) {
    this.#options = options;
    this.#clock = clock;
    this.#onChange = onChange;
    this.#free = [...options.executors];
    this.#permits = new Permits(options.executors.length);
  }

  /** Why a slot still has something of its last action: the worker is then to take nothing new. */
  get uncleanWhy(): string | undefined {
    const [[folder, why] = []] = this.#unclean;
    return folder === undefined ? undefined : `what an action left in ${folder} stays: ${why}`;
  }

  /** Settles once the slot is free again; fails when `signal` aborts, or the slots are stopped, before one is free. */
  async hold(use: SlotUse, signal: AbortSignal): Promise<void> {
    const either = AbortSignal.any([signal, this.#stopped.signal]);
    await this.#permits.hold(() => this.#useOne(use), either);
  }

  /** Nobody gets a slot any more. What runs goes on; what it leaves is tried to remove once only. */
  stop(): void {
    this.#stopped.abort();
  }

  async #useOne(use: SlotUse): Promise<void> {
    const executor = this.#free.pop();
    if (!executor) throw new Error('there is a slot and no executor for it');
    const folder = path.join(this.#options.folder, this.#options.newId());
    try {
      await use(executor, folder);
    } finally {
      await this.#clean(executor, folder);
      this.#free.push(executor);
    }
  }

  /** Tries again until it works, or the slots are stopped. */
  async #clean(executor: Executor, folder: string): Promise<void> {
    const { log } = this.#options;
    for (let tries = 0; ; tries++) {
      try {
        await executor.clean?.();
        await removeFolder(folder);
        if (tries === 0) return;
        log.info('what was left of an action is gone', { folder });
        this.#unclean.delete(folder);
        this.#onChange();
        return;
      } catch (error) {
        if (tries === 0) this.#stain(folder, error);
        if (!(await slept(cleanAgainMs, this.#clock, this.#stopped.signal))) return;
      }
    }
  }

  #stain(folder: string, error: unknown): void {
    const { message } = StatusError.from(error);
    const fields = { folder, error: message };
    this.#options.log.error('no more actions until all that one left is gone', fields);
    this.#unclean.set(folder, message);
    this.#onChange();
  }
}
