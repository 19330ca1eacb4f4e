import type { Digest } from '../digest/digest.ts';
import type { SteadyTime } from './steady-time.ts';

/** An action that is not run, for people. */
export interface QuarantinedAction {
  readonly instanceName: string;
  readonly action: Digest;
  readonly why: string;
  /** For how long, from now. */
  readonly leftMs: number;
}

interface Entry {
  readonly instanceName: string;
  readonly action: Digest;
  readonly why: string;
  readonly until: number;
}

export interface QuarantineOptions {
  readonly time: SteadyTime;
  readonly quarantineMs: number;
  readonly quarantinedMax: number;
}

/**
 * Actions that seem to take their workers down: they are not run again for a while (SC-18). A restart
 * forgets them, which costs a few workers at most.
 */
export class Quarantine {
  readonly #options: QuarantineOptions;
  /** Oldest first. */
  readonly #entries = new Map<string, Entry>();

  constructor(options: QuarantineOptions) {
    this.#options = options;
  }

  add(instanceName: string, action: Digest, why: string): void {
    const { time, quarantineMs, quarantinedMax } = this.#options;
    const key = keyOf(instanceName, action);
    this.#entries.delete(key);
    this.#entries.set(key, { instanceName, action, why, until: time.now + quarantineMs });
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= quarantinedMax) return;
      this.#entries.delete(oldest);
    }
  }

  /** Why the action is not run now; undefined when it may run. */
  find(instanceName: string, action: Digest): string | undefined {
    this.#forgetPast();
    return this.#entries.get(keyOf(instanceName, action))?.why;
  }

  list(): QuarantinedAction[] {
    this.#forgetPast();
    const { now } = this.#options.time;
    return [...this.#entries.values()].map(({ until, ...entry }) => ({
      ...entry,
      leftMs: until - now,
    }));
  }

  /** Lets the action run again, in every instance; false when it was free to. */
  release(action: Digest): boolean {
    let isKnown = false;
    for (const [key, entry] of this.#entries) {
      if (entry.action.key === action.key) isKnown = this.#entries.delete(key);
    }
    return isKnown;
  }

  #forgetPast(): void {
    for (const [key, { until }] of this.#entries) {
      if (until > this.#options.time.now) return;
      this.#entries.delete(key);
    }
  }
}

function keyOf(instanceName: string, action: Digest): string {
  return `${instanceName} ${action.key}`;
}
