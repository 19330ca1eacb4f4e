import path from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { newId } from '../../src/base/id.ts';
import { silentLog } from '../../src/base/log.ts';
import { defaultOutputLimits } from '../../src/tree/collect-outputs.ts';
import { DirectoryCache } from '../../src/tree/directory-cache.ts';
import { defaultTreeLimits } from '../../src/tree/walk-directories.ts';
import { FileCache } from '../../src/worker/file-cache.ts';
import type { ActionEnvironment } from '../../src/worker/run-action.ts';

/** What a worker runs actions with, its files below `folder`. */
export async function actionEnvironment(
  folder: string,
  changes: Partial<ActionEnvironment> = {},
): Promise<ActionEnvironment> {
  const cacheOptions = { bytesMax: 100_000_000, newId, log: silentLog };
  return {
    workerId: 'worker-1',
    files: await FileCache.open(path.join(folder, 'files'), cacheOptions),
    directories: new DirectoryCache(1_000_000),
    treeLimits: defaultTreeLimits,
    outputLimits: defaultOutputLimits,
    variables: {},
    fetchTimeoutMs: 60_000,
    uploadTimeoutMs: 60_000,
    clock: systemClock,
    ...changes,
  };
}
