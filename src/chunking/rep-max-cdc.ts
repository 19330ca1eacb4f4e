import { ChunkingFunction_Value } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { ChunkingFunction } from './chunking-function.ts';
import { GearMaxima } from './gear-maxima.ts';

export interface RepMaxCdcOptions {
  /** From 1 KiB to 1 MiB: Bazel takes its own for anything else (CDC-41). */
  readonly minBytes: number;
  /** How far ahead a cut is looked for, up to 8 MiB (CDC-41); 0 makes all chunks `minBytes` long. */
  readonly horizonBytes: number;
}

/** What the API recommends (CAP-19). */
export const defaultRepMaxCdcOptions: RepMaxCdcOptions = {
  minBytes: 256 * 1024,
  horizonBytes: 8 * 256 * 1024,
};

/**
 * RepMaxCDC: cuts where a rolling hash is greatest, so that all chunks have from one to two times the
 * least size (CDC-35 to CDC-39). It looks as far ahead as the horizon, and wherever it finds the greatest
 * hash there must once be a cut; so it looks again in what is before, until that is one chunk.
 */
export function repMaxCdc({ minBytes, horizonBytes }: RepMaxCdcOptions): ChunkingFunction {
  const windowBytes = 2 * minBytes + horizonBytes;
  return {
    value: ChunkingFunction_Value.REP_MAX_CDC,
    announcement: {
      repMaxCdcParams: { minChunkSizeBytes: minBytes, horizonSizeBytes: horizonBytes },
    },
    wholeBytesMax: 2 * minBytes - 1,
    averageBytes: (4 / 3) * minBytes,
    windowBytes,
    createCutter: () => {
      const maxima = new GearMaxima(windowBytes);
      return (window) => {
        if (window.length < 2 * minBytes) return window.length;
        let limit = window.length - minBytes;
        maxima.extend(window, limit);
        for (;;) {
          const cut = maxima.greatest(window, minBytes, limit);
          if (cut < 2 * minBytes) {
            maxima.advance(cut);
            return cut;
          }
          limit = cut - minBytes;
        }
      };
    },
  };
}
