import { systemClock } from '../../src/base/clock.ts';
import type { HoldingProxy, Way } from '../support/holding-proxy.ts';
import type { Machine, SmallDisk } from './machine.ts';

/** What can be broken, as one: only one thing is wrong with it at a time. */
export interface Victim {
  readonly machine: Machine;
  /** The way to it, or from it. */
  readonly line: HoldingProxy;
  readonly disks: readonly SmallDisk[];
}

export interface NemesisOptions {
  readonly victims: readonly Victim[];
  readonly random: () => number;
  /** The longest that something stays broken. */
  readonly faultMsMax: number;
  /** Between one fault and the next. */
  readonly pauseMsMax: number;
  readonly trace: (line: string) => void;
}

const ways: readonly (readonly Way[])[] = [['up', 'down'], ['up'], ['down']];

/** Breaks one thing after the other and mends it again. */
export class Nemesis {
  readonly #options: NemesisOptions;
  readonly #broken = new Set<Victim>();
  /** By its kind, how often each fault was. */
  readonly faults = new Map<string, number>();

  constructor(options: NemesisOptions) {
    this.#options = options;
  }

  /** Goes on until `signal` aborts; then everything is mended. */
  async rage(signal: AbortSignal): Promise<void> {
    // Two things may be broken at once.
    await Promise.all([this.#break(signal), this.#break(signal)]);
  }

  async #break(signal: AbortSignal): Promise<void> {
    const { victims, faultMsMax, pauseMsMax } = this.#options;
    for (;;) {
      await this.#wait(pauseMsMax, signal);
      if (signal.aborted) return;
      const whole = victims.filter((victim) => !this.#broken.has(victim));
      const victim = this.#one(whole);
      if (!victim) continue;
      this.#broken.add(victim);
      await this.#harm(victim, () => this.#wait(faultMsMax, signal));
      this.#broken.delete(victim);
    }
  }

  async #harm(victim: Victim, wait: () => Promise<void>): Promise<void> {
    const { machine, line } = victim;
    const disk = this.#one(victim.disks);
    const kinds = ['kill', 'pause', 'partition', 'cut', 'stop', ...(disk ? ['full disk'] : [])];
    const kind = this.#one(kinds) ?? 'kill';
    this.faults.set(kind, (this.faults.get(kind) ?? 0) + 1);
    this.#options.trace(`${machine.name}: ${kind}`);
    if (kind === 'kill' || kind === 'stop') {
      await (kind === 'kill' ? machine.kill() : machine.stop());
      await wait();
      await machine.start();
    } else if (kind === 'pause') {
      machine.pause();
      await wait();
      machine.goOn();
    } else if (kind === 'partition') {
      line.hold(...(this.#one(ways) ?? []));
      await wait();
      line.release();
    } else if (kind === 'cut') {
      line.cut();
    } else {
      disk?.fill();
      await wait();
      disk?.empty();
    }
    this.#options.trace(`${machine.name}: is well again`);
  }

  async #wait(msMax: number, signal: AbortSignal): Promise<void> {
    // Most are short, some are as long as can be.
    const ms = msMax * this.#options.random() ** 2;
    await systemClock.sleep(ms, signal).catch(() => {});
  }

  #one<T>(of: readonly T[]): T | undefined {
    return of[Math.floor(this.#options.random() * of.length)];
  }
}
