import { StatusError } from '../base/status.ts';
import type { Log } from '../base/log.ts';
import { dataFolder } from '../config/surroundings.ts';
import { readWorkerConfig } from '../config/worker-config.ts';
import type { Program } from './command.ts';
import type { RunningServer } from './server.ts';
import { type RunningWorker, startWorker } from './worker.ts';

export interface LocalWorkerOptions {
  /** Where the data of the server is, and the worker's will be; this user's data folder unless given. */
  readonly data?: string;
  readonly slots?: number | undefined;
}

/** A worker inside of its server's process, configured by environment variables alone. */
export async function startLocalWorker(
  { workQueue, blobsOf }: RunningServer,
  { surroundings, clock, newId }: Pick<Program, 'surroundings' | 'clock' | 'newId'>,
  log: Log,
  closing: AsyncDisposableStack,
  { data = dataFolder(surroundings), slots }: LocalWorkerOptions,
): Promise<RunningWorker> {
  if (!workQueue) throw new Error('a server without execution has no work');
  const flags =
    slots === undefined ? [] : [{ key: 'slots', value: String(slots), flag: '--slots' }];
  const sources = { file: undefined, environment: surroundings.environment, flags };
  const config = readWorkerConfig(sources, surroundings, data);
  const deps = { clock, newId, log, surroundings };
  const running = await startWorker(config, { queue: workQueue, blobsOf }, deps, closing);
  running.ended.catch((thrown: unknown) =>
    log.error('the worker cannot go on', { error: StatusError.from(thrown).message }),
  );
  return running;
}
