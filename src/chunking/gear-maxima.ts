import { gearTable } from './gear-table.ts';

/** The hash of a position is made of so many bytes before it: each shifts out of its 64 bits (CDC-35). */
const gearWindowBytes = 64;

/**
 * Positions whose greatest hash is kept together. To look among them again costs half as many hashes per
 * look; fewer would make more maxima to go through.
 */
const blockPositions = 1024;

/** Unsigned numbers compare like signed ones whose first bit is turned. */
const signBit = 0x80_00_00_00 | 0;

/**
 * Where the rolling hash of a blob is greatest, in any part of a window that moves over it. Each byte is
 * hashed once, and those near the ends of a part again. The definition of RepMaxCDC hashes all of a part
 * for each look, which is 8 times for each byte with the usual parameters (CDC-40).
 */
export class GearMaxima {
  /** By block, modulo their number: its greatest hash so far, the first of equal ones. */
  readonly #high: Int32Array;
  readonly #low: Int32Array;
  /** The position of that, within the block. */
  readonly #at: Int32Array;
  /** Where in the blob the window begins. */
  #start = 0;
  /** The position up to which hashes are known, and the hash there. */
  #known = 0;
  #knownHigh = 0;
  #knownLow = 0;

  constructor(windowBytes: number) {
    const blocks = Math.ceil(windowBytes / blockPositions) + 2;
    this.#high = new Int32Array(blocks);
    this.#low = new Int32Array(blocks);
    this.#at = new Int32Array(blocks);
  }

  /** Takes in the bytes of the window up to `to`. */
  extend(window: Uint8Array, to: number): void {
    let high = this.#knownHigh;
    let low = this.#knownLow;
    const end = this.#start + to;
    for (let position = this.#known; position < end;) {
      const slot = this.#slotOf(position + 1);
      const first = (position + 1) % blockPositions;
      const begins = first === 0 || position === 0;
      const best: Best = begins
        ? { high: signBit, low: signBit, at: -1 }
        : { high: this.#high[slot] ?? 0, low: this.#low[slot] ?? 0, at: this.#at[slot] ?? 0 };
      const count = Math.min(end - position, blockPositions - first);
      const from = position - this.#start;
      ({ high, low } = scan(window, from, from + count, first, high, low, best));
      this.#high[slot] = best.high;
      this.#low[slot] = best.low;
      this.#at[slot] = best.at;
      position += count;
    }
    this.#known = Math.max(this.#known, end);
    this.#knownHigh = high;
    this.#knownLow = low;
  }

  /**
   * The position from `from`, at least 64, to `to` with the greatest hash of the bytes before it; the first
   * of equal ones. Both count from the window's begin, and are taken in already.
   */
  greatest(window: Uint8Array, from: number, to: number): number {
    const first = this.#start + from;
    const last = this.#start + to;
    const best: Best = { high: signBit, low: signBit, at: -1 };
    for (let begin = first - (first % blockPositions); begin <= last; begin += blockPositions) {
      const slot = this.#slotOf(begin);
      const at = begin + (this.#at[slot] as number);
      if (at >= first && at <= last) {
        const high = this.#high[slot] as number;
        const low = this.#low[slot] as number;
        if (!isGreater(high, low, best)) continue;
        best.high = high;
        best.low = low;
        best.at = at - this.#start;
      } else {
        const partFrom = Math.max(first, begin) - this.#start;
        const partTo = Math.min(last, begin + blockPositions - 1) - this.#start;
        scanAfresh(window, partFrom, partTo, best);
      }
    }
    return best.at;
  }

  /** Moves the window's begin on by so many bytes. */
  advance(bytes: number): void {
    this.#start += bytes;
  }

  #slotOf(position: number): number {
    return Math.floor(position / blockPositions) % this.#at.length;
  }
}

/** A hash in two halves with their first bits turned, and its position; -1 while there is none. */
interface Best {
  high: number;
  low: number;
  at: number;
}

function isGreater(high: number, low: number, best: Best): boolean {
  return high > best.high || (high === best.high && low > best.low) || best.at === -1;
}

/** Looks at the positions from `from` to `to`, whose hashes are not known. */
function scanAfresh(window: Uint8Array, from: number, to: number, best: Best): void {
  const ignored: Best = { high: 0x7f_ff_ff_ff, low: 0x7f_ff_ff_ff, at: 0 };
  const { high, low } = scan(window, from - gearWindowBytes, from - 1, 0, 0, 0, ignored);
  scan(window, from - 1, to, from, high, low, best);
}

/**
 * Hashes the bytes from `from` to before `to`, on top of the hash so far, which it gives back. The position
 * after the first of them is called `at`; `best` becomes the best of it and those found.
 */
function scan(
  window: Uint8Array,
  from: number,
  to: number,
  at: number,
  high: number,
  low: number,
  best: Best,
): { high: number; low: number } {
  const gear = gearTable;
  let bestHigh = best.high;
  for (let index = from; index < to; index++) {
    const byte = window[index] as number;
    const shifted = low << 1;
    const addend = gear.low[byte] as number;
    const sum = (shifted + addend) | 0;
    const carry = ((shifted & addend) | ((shifted | addend) & ~sum)) >>> 31;
    high = ((high << 1) + (low >>> 31) + (gear.high[byte] as number) + carry) | 0;
    low = sum;
    const turned = high ^ signBit;
    if (turned < bestHigh && best.at !== -1) continue;
    if (!isGreater(turned, low ^ signBit, best)) continue;
    bestHigh = turned;
    best.high = turned;
    best.low = low ^ signBit;
    best.at = at + index - from;
  }
  return { high, low };
}
