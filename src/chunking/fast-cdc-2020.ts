import { ChunkingFunction_Value } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { ChunkingFunction } from './chunking-function.ts';
import { gearTable } from './gear-table.ts';

export interface FastCdc2020Options {
  /** A power of two from 1 KiB to 1 MiB: clients refuse others (CDC-27). */
  readonly avgBytes: number;
  /** An unsigned 32-bit number; another one cuts elsewhere (CDC-31). */
  readonly seed: number;
}

/** What the API recommends (CAP-18). Bazel takes it for anything it does not like (CDC-27). */
export const defaultFastCdc2020Options: FastCdc2020Options = { avgBytes: 512 * 1024, seed: 0 };

/** Masks by the number of their bits, from 5 on (CDC-29). */
const masks: readonly number[] = [
  0x1804110, 0x1803110, 0x18035100, 0x1800035300, 0x19000353000, 0x590003530000, 0xd90003530000,
  0xd90103530000, 0xd90303530000, 0xd90313530000, 0xd90f03530000, 0xd90303537000, 0xd90703537000,
  0xd90707537000, 0xd91707537000, 0xd91747537000, 0xd91767537000, 0xd93767537000, 0xd93777537000,
  0xd93777577000, 0xdb3777577000,
];
const bitsOfFirstMask = 5;

/** How many bits the mask before the average has more, and the one after it less (CDC-26). */
const normalization = 2;

/**
 * FastCDC of 2020: cuts where the bits of a mask are zero in a rolling hash, at the latest after four
 * times the average, at the earliest after a quarter of it (CDC-26 to CDC-32).
 */
export function fastCdc2020({ avgBytes, seed }: FastCdc2020Options): ChunkingFunction {
  const minBytes = avgBytes / 4;
  const maxBytes = avgBytes * 4;
  const gear = gearOf(seed);
  const bits = Math.log2(avgBytes);
  const hard = maskOf(bits + normalization);
  const easy = maskOf(bits - normalization);
  const cut = (window: Uint8Array) => {
    const length = window.length;
    if (length <= minBytes) return length;
    const search: Search = { window, gear, high: 0, low: 0 };
    const middle = Math.min(length, avgBytes);
    return (
      findCut(search, even(minBytes), even(middle), hard) ??
      findCut(search, even(middle), even(length), easy) ??
      length
    );
  };
  return {
    value: ChunkingFunction_Value.FAST_CDC_2020,
    announcement: { fastCdc2020Params: { avgChunkSizeBytes: avgBytes, seed } },
    wholeBytesMax: maxBytes,
    averageBytes: avgBytes,
    windowBytes: maxBytes,
    createCutter: () => cut,
  };
}

/** A 48-bit number in halves of 24 bits. No mask has a bit above: higher ones of the hash are not kept. */
interface Halves<Half> {
  readonly high: Half;
  readonly low: Half;
}

interface Search {
  readonly window: Uint8Array;
  readonly gear: Halves<Int32Array>;
  /** The rolling hash so far. */
  high: number;
  low: number;
}

/** The first position from `from` on, before `to`, at which the hash has none of the mask's bits. */
function findCut(
  search: Search,
  from: number,
  to: number,
  mask: Halves<number>,
): number | undefined {
  const { window, gear } = search;
  let { high, low } = search;
  for (let at = from; at < to; at++) {
    const byte = window[at] as number;
    const sum = (low << 1) + (gear.low[byte] as number);
    high = ((high << 1) + (gear.high[byte] as number) + (sum >>> 24)) & 0xff_ff_ff;
    low = sum & 0xff_ff_ff;
    if ((low & mask.low) === 0 && (high & mask.high) === 0) return at;
  }
  search.high = high;
  search.low = low;
  return undefined;
}

function gearOf(seed: number): Halves<Int32Array> {
  const high = new Int32Array(256);
  const low = new Int32Array(256);
  for (let byte = 0; byte < 256; byte++) {
    const seeded = (gearTable.low[byte] as number) ^ seed;
    low[byte] = seeded & 0xff_ff_ff;
    high[byte] = (((gearTable.high[byte] as number) << 8) | (seeded >>> 24)) & 0xff_ff_ff;
  }
  return { high, low };
}

function maskOf(bits: number): Halves<number> {
  const mask = masks[bits - bitsOfFirstMask] as number;
  return { high: Math.floor(mask / 2 ** 24), low: mask % 2 ** 24 };
}

const even = (value: number) => value - (value % 2);
