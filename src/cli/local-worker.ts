import { StatusError } from '../base/status.ts';
import type { Log } from '../base/log.ts';
import type { WorkerConfig } from '../config/worker-config.ts';
import type { Program } from './command.ts';
import type { RunningServer } from './server.ts';
import { type RunningWorker, startWorker } from './worker.ts';

/** A worker inside of its server's process. */
export async function startLocalWorker(
  config: WorkerConfig,
  { workQueue, blobsOf, logs }: RunningServer,
  { surroundings, clock, newId }: Pick<Program, 'surroundings' | 'clock' | 'newId'>,
  log: Log,
  closing: AsyncDisposableStack,
): Promise<RunningWorker> {
  if (!workQueue || !logs) throw new Error('a server without execution has no work');
  const deps = { clock, newId, log, surroundings };
  const ports = { server: 'this process', queue: workQueue, blobsOf, logs };
  const running = await startWorker(config, ports, deps, closing);
  running.ended.catch((thrown: unknown) =>
    log.error('the worker cannot go on', { error: StatusError.from(thrown).message }),
  );
  return running;
}
