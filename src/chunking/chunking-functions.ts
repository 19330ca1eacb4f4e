import type { ChunkingFunction } from './chunking-function.ts';
import { defaultFastCdc2020Options, fastCdc2020 } from './fast-cdc-2020.ts';
import { defaultRepMaxCdcOptions, repMaxCdc } from './rep-max-cdc.ts';

/**
 * Every chunking function this program can compute, the preferred one first. Clients can share chunks
 * only if they all cut alike, so the parameters are those that the API recommends and no setting.
 */
export const allChunkingFunctions: readonly [ChunkingFunction, ...ChunkingFunction[]] = [
  // The one that Bazel takes of both (CDC-41).
  fastCdc2020(defaultFastCdc2020Options),
  repMaxCdc(defaultRepMaxCdcOptions),
];
