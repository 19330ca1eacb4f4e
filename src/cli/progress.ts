import type { Clock } from '../base/clock.ts';
import type { Terminal } from './terminal.ts';

export interface Amount {
  readonly done: number;
  readonly all: number;
  readonly doneBytes: number;
  readonly allBytes: number;
}

/** Often enough to look alive, and too seldom to cost anything. */
const redrawMs = 100;
const barWidth = 24;

/** Shows how far a transfer is: `uploading [####    ] 3/12, 1.2 of 4.0 MiB, 800 KiB/s`. */
export class Progress {
  readonly #terminal: Terminal;
  readonly #clock: Clock;
  readonly #verb: string;
  readonly #startedAt: number;
  #drawnAt = Number.NEGATIVE_INFINITY;

  constructor(verb: string, terminal: Terminal, clock: Clock) {
    this.#verb = verb;
    this.#terminal = terminal;
    this.#clock = clock;
    this.#startedAt = clock.now();
  }

  show({ done, all, doneBytes, allBytes }: Amount): void {
    if (!this.#terminal.isWatched) return;
    const now = this.#clock.now();
    if (now - this.#drawnAt < redrawMs) return;
    this.#drawnAt = now;
    const share = allBytes > 0 ? doneBytes / allBytes : 1;
    const filled = Math.min(barWidth, Math.round(share * barWidth));
    const bar = '#'.repeat(filled).padEnd(barWidth);
    const perSecond = doneBytes / Math.max(0.001, (now - this.#startedAt) / 1000);
    this.#terminal.progress(
      `${this.#verb} [${bar}] ${done}/${all}, ` +
        `${formatSize(doneBytes)} of ${formatSize(allBytes)}, ${formatSize(perSecond)}/s`,
    );
  }

  end(): void {
    this.#terminal.progress('');
  }
}

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** A size for people: `1.5 MiB`. */
export function formatSize(bytes: number): string {
  let unit = 0;
  let amount = bytes;
  while (amount >= 1024 && unit < units.length - 1) {
    amount /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(amount) : amount.toFixed(1)} ${units[unit]}`;
}

/** How long something took, for people: `12 ms`, `3.4 s`, `5 min 6 s`, `7 h 8 min`. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes} min ${Math.floor((ms % 60_000) / 1000)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** `1 file`, `2 files`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
