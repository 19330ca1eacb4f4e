import type { ChunkingFunction } from '../../chunking/chunking-function.ts';
import { fastCdc2020 } from '../../chunking/fast-cdc-2020.ts';
import { repMaxCdc } from '../../chunking/rep-max-cdc.ts';
import type {
  CacheCapabilities,
  ServerCapabilities,
} from '../../proto/build/bazel/remote/execution/v2/remote_execution.ts';

/** What the configuration asks for. */
export type WantedChunking = 'off' | 'uploads';

const KIB = 2 ** 10;
const MIB = 2 ** 20;

/**
 * How to cut uploads so that the server finds chunks again. Undefined when that is not wanted, or the server
 * does not splice (CDC-24), or announces no function with parameters in their range (CDC-34).
 */
export function uploadChunkingOf(
  { cacheCapabilities }: ServerCapabilities,
  wanted: WantedChunking,
): ChunkingFunction | undefined {
  if (wanted === 'off' || !cacheCapabilities?.spliceBlobSupport) return undefined;
  return announcedFastCdc(cacheCapabilities) ?? announcedRepMaxCdc(cacheCapabilities);
}

/** The average is a power of two from 1 KiB to 1 MiB (CAP-18). */
function announcedFastCdc({ fastCdc2020Params }: CacheCapabilities): ChunkingFunction | undefined {
  if (!fastCdc2020Params) return undefined;
  const { avgChunkSizeBytes: avgBytes, seed } = fastCdc2020Params;
  const isInRange = avgBytes >= KIB && avgBytes <= MIB && Number.isInteger(Math.log2(avgBytes));
  return isInRange ? fastCdc2020({ avgBytes, seed }) : undefined;
}

/** The least size is from 1 KiB to 1 MiB, the horizon up to 8 MiB, as Bazel takes them (CDC-41). */
function announcedRepMaxCdc({ repMaxCdcParams }: CacheCapabilities): ChunkingFunction | undefined {
  if (!repMaxCdcParams) return undefined;
  const { minChunkSizeBytes: minBytes, horizonSizeBytes: horizonBytes } = repMaxCdcParams;
  const isInRange = minBytes >= KIB && minBytes <= MIB && horizonBytes <= 8 * MIB;
  return isInRange ? repMaxCdc({ minBytes, horizonBytes }) : undefined;
}
