import type { Compressor } from '../digest/resource-name.ts';
import type { Need } from './probe.ts';

/** A store and an action cache. */
export const aCache: Need = ({ capabilities }) =>
  capabilities.cacheCapabilities ? undefined : 'no cache_capabilities are announced';

/** A compressor for BatchUpdateBlobs. */
export const batchCompression =
  (compressor: Compressor): Need =>
  ({ batchCompressors }) =>
    batchCompressors.includes(compressor)
      ? undefined
      : `${compressor} is not announced for batches`;

/** Execution, of which only what runs nothing is asked. */
export const execution: Need = ({ execution: announced }) =>
  announced?.execEnabled ? undefined : 'execution is not announced';
