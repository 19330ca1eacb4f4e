import type {
  CacheCapabilities,
  ChunkingFunction_Value,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';

/**
 * Gives the length of the first chunk of `window`, which begins where the last chunk ended and holds
 * `windowBytes` bytes, or all that are left of the blob. For one blob, from its beginning.
 */
export type Cutter = (window: Uint8Array) => number;

/** A way to cut blobs by their content: equal parts of different blobs become equal chunks. */
export interface ChunkingFunction {
  /** Its number on the wire. */
  readonly value: ChunkingFunction_Value;
  /** Its parameters, for clients that cut by themselves (CAP-17). */
  readonly announcement: Pick<Partial<CacheCapabilities>, 'fastCdc2020Params' | 'repMaxCdcParams'>;
  /** Blobs up to this size stay whole (CDC-33). */
  readonly wholeBytesMax: number;
  /** What chunks have on average, or somewhat less. */
  readonly averageBytes: number;
  /** The bytes a cut depends on, so that it does not depend on how they come in (CDC-32, CDC-39). */
  readonly windowBytes: number;
  readonly createCutter: () => Cutter;
}
