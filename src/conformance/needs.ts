import { Code, StatusError } from '../base/status.ts';
import type { Compressor } from '../digest/resource-name.ts';
import { NotApplicable } from './expect.ts';
import type { Need } from './probe.ts';

/** A store and an action cache. */
export const aCache: Need = ({ capabilities }) =>
  capabilities.cacheCapabilities ? undefined : 'no cache_capabilities are announced';

/** The right to write to the action cache. */
export const cacheUpdates: Need = ({ cache }) =>
  cache.actionCacheUpdateCapabilities?.updateEnabled
    ? undefined
    : 'action cache updates are not enabled';

/** A compressor for ByteStream; any when none is named. */
export const compression =
  (compressor?: Compressor): Need =>
  ({ compressors }) => {
    if (compressor === undefined ? compressors.length > 0 : compressors.includes(compressor)) {
      return undefined;
    }
    return `${compressor ?? 'no compressor'} is ${compressor === undefined ? '' : 'not '}announced`;
  };

/** A compressor for BatchUpdateBlobs. */
export const batchCompression =
  (compressor: Compressor): Need =>
  ({ batchCompressors }) =>
    batchCompressors.includes(compressor)
      ? undefined
      : `${compressor} is not announced for batches`;

export const splitting: Need = ({ cache }) =>
  cache.splitBlobSupport ? undefined : 'split_blob_support is false';

export const splicing: Need = ({ cache }) =>
  cache.spliceBlobSupport ? undefined : 'splice_blob_support is false';

/** Execution, of which only what runs nothing is asked. */
export const execution: Need = ({ execution: announced }) =>
  announced?.execEnabled ? undefined : 'execution is not announced';

/** Leave to run an action. */
export const running: Need = (tested) =>
  execution(tested) ?? (tested.mayExecute ? undefined : '--execute is not given');

/** The answer to a call of a method that a server may leave out; UNIMPLEMENTED says that it does. */
export async function offered<T>(name: string, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (thrown) {
    if (StatusError.from(thrown).code !== Code.UNIMPLEMENTED) throw thrown;
    throw new NotApplicable(`${name} is not offered`);
  }
}
