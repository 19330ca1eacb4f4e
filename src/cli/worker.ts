import { readFileSync, realpathSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Clock } from '../base/clock.ts';
import type { NewId } from '../base/id.ts';
import type { Log } from '../base/log.ts';
import { makeFolder } from '../base/make-folder.ts';
import { random } from '../base/random.ts';
import { Code, StatusError } from '../base/status.ts';
import { version } from '../base/version.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import { lockFolder } from '../cas/lock-folder.ts';
import type { ExecutorConfig } from '../config/executor-config.ts';
import type { Surroundings } from '../config/surroundings.ts';
import type { WorkerConfig } from '../config/worker-config.ts';
import {
  type IsolationLevel,
  isolationOffered,
  networkOffered,
} from '../executor/isolation-levels.ts';
import type { LogStreams } from '../logs/log-streams.ts';
import type { WorkQueue } from '../scheduler/work-queue.ts';
import { defaultOutputLimits } from '../tree/collect-outputs.ts';
import { DirectoryCache } from '../tree/directory-cache.ts';
import { defaultTreeLimits } from '../tree/walk-directories.ts';
import { FileCache } from '../worker/file-cache.ts';
import { findInputMethod } from '../worker/input-method.ts';
import { KeptFolders } from '../worker/kept-folders.ts';
import { defaultOutboxOptions, Outbox } from '../worker/outbox.ts';
import type { ActionEnvironment } from '../worker/run-action.ts';
import { defaultWorkOptions, work } from '../worker/work.ts';
import { actionsFolder } from './actions-folder.ts';
import { SystemError } from './exit-codes.ts';
import { startExecutors } from './start-executors.ts';
import type { LevelledExecutors } from './started-executors.ts';

export interface WorkerDeps {
  readonly clock: Clock;
  readonly newId: NewId;
  readonly log: Log;
  readonly surroundings: Surroundings;
}

/** The server, as a worker sees it: in this process, or behind a connection. */
export interface WorkerPorts {
  /** Where the queue is, for people. */
  readonly server: string;
  readonly queue: WorkQueue;
  readonly blobsOf: (instanceName: string) => BlobStore;
  readonly logs: LogStreams;
}

export interface RunningWorker {
  readonly workerId: string;
  readonly slots: number;
  /** What its commands are kept from, in one line. */
  readonly isolation: string;
  /** Settles when the worker has ended; it does so by itself only when it cannot go on. */
  readonly ended: Promise<void>;
}

/** Commands find the usual programs even if nobody says where (ACT-10). */
const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Inputs and outputs of some GiB on a slow line; a store that hangs must not hold a slot for ever. */
const transferTimeoutMs = 15 * 60_000;
/** Directories of some ten large input trees, which the next actions need again. */
const directoryCacheMaxSizeBytes = 64 * 2 ** 20;
/** Ten input roots of 40,000 files, in 40 MB of memory. */
const keptEntriesMax = 400_000;

/**
 * Starts a worker. `closing` drains it: running actions are finished and told, then it ends. Fails with
 * a SystemError when another process has its folder.
 */
export async function startWorker(
  configured: WorkerConfig,
  { server, queue, blobsOf, logs }: WorkerPorts,
  { clock, newId, log, surroundings }: WorkerDeps,
  closing: AsyncDisposableStack,
): Promise<RunningWorker> {
  takeFolder(configured.rootPath, closing);
  // The kernel tells where commands are by paths without links.
  const config = { ...configured, rootPath: realpathSync(configured.rootPath) };
  const { rootPath, slots } = config;
  const workerId = config.workerId ?? keptWorkerId(rootPath, newId);
  const { executors, isolation, level, proofs } = await startExecutors(
    config,
    { workerId, newId },
    surroundings,
    log,
    closing,
  );
  const outbox = await Outbox.open({
    ...defaultOutboxOptions,
    folder: path.join(rootPath, 'outbox'),
    log,
  });
  const drain = new AbortController();
  const ended = work(
    {
      ...defaultWorkOptions,
      server,
      queue,
      blobsOf,
      executors,
      isolation,
      proofs,
      properties: propertiesOf(config, level),
      capacities: config.capacities,
      actionMaxes: actionMaxesOf(config.executor),
      softwareVersion: version,
      folder: actionsFolder(rootPath),
      outbox,
      drainTimeoutMs: config.drainTimeoutMs,
      newId,
      log,
      random,
    },
    {
      workerId,
      ...(await openInputs(config, { executors, level }, { clock, newId, log })),
      treeLimits: defaultTreeLimits,
      outputLimits: defaultOutputLimits,
      variables: variablesOf(config, surroundings),
      fetchTimeoutMs: transferTimeoutMs,
      uploadTimeoutMs: transferTimeoutMs,
      clock,
      logs,
    },
    drain.signal,
    new AbortController().signal,
  );
  const settled = ended.catch(() => {});
  closing.defer(() => {
    drain.abort();
    return settled;
  });
  return { workerId, slots, isolation, ended };
}

/** What is configured, and what the executor gives: which network is configured where that is known better. */
function propertiesOf(
  { properties, executor }: WorkerConfig,
  level: IsolationLevel,
): WorkerConfig['properties'] {
  const isTold = properties.some(({ name }) => name === 'network');
  const network = isTold ? [] : networkOffered(level, executor.network === 'on-request');
  return [...properties, ...isolationOffered(level), ...network];
}

/** What an action gets of what a worker shares out, whatever it asks for. */
function actionMaxesOf({ memoryMaxBytes, cpusMax }: ExecutorConfig): ReadonlyMap<string, number> {
  const maxes = new Map<string, number>();
  if (memoryMaxBytes !== undefined) maxes.set('memory', memoryMaxBytes);
  if (cpusMax !== undefined) maxes.set('cpu', cpusMax);
  return maxes;
}

/** What is kept of inputs between actions, on the disk and in memory. */
async function openInputs(
  { rootPath, cacheMaxSizeBytes }: WorkerConfig,
  { executors, level }: Pick<LevelledExecutors, 'executors' | 'level'>,
  { clock, newId, log }: Pick<WorkerDeps, 'clock' | 'newId' | 'log'>,
): Promise<Pick<ActionEnvironment, 'files' | 'directories' | 'folders'>> {
  const files = await FileCache.open(path.join(rootPath, 'cache'), {
    bytesMax: cacheMaxSizeBytes,
    newId,
    log,
  });
  const folders = await KeptFolders.open(path.join(rootPath, 'kept'), {
    entriesMax: keptEntriesMax,
    bytesMax: cacheMaxSizeBytes / 4,
    clock,
    newId,
    log,
  });
  const protectsInputs = executors.every((executor) => executor.protectsInputs);
  const kept = path.join(rootPath, 'kept');
  log.info('inputs', {
    ...(await findInputMethod(path.join(rootPath, 'cache'), kept, protectsInputs)),
  });
  // On the host a command can hand a folder open to one of another user, who would see the next action from it.
  const mayKeep = level !== 'host' || executors.every(({ owner }) => owner === undefined);
  const directories = new DirectoryCache(directoryCacheMaxSizeBytes);
  return { files, folders: mayKeep ? folders : undefined, directories };
}

/** Other users' commands pass through it to what is theirs, and see nothing else in it. */
function takeFolder(folder: string, closing: AsyncDisposableStack): void {
  try {
    makeFolder(folder, 0o711);
    closing.defer(lockFolder(folder));
  } catch (thrown) {
    const { code, message } = StatusError.from(thrown);
    if (code !== Code.FAILED_PRECONDITION) throw thrown;
    throw new SystemError(message, { cause: thrown });
  }
}

/** Made up once, so that the scheduler knows the worker again after a restart. */
function keptWorkerId(folder: string, newId: NewId): string {
  const file = path.join(folder, 'worker_id');
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown;
    const made = `worker-${newId().slice(0, 8)}`;
    writeFileSync(file, `${made}\n`);
    return made;
  }
}

function variablesOf(
  { executor }: WorkerConfig,
  { environment }: Surroundings,
): Readonly<Record<string, string>> {
  const variables = new Map([['PATH', defaultPath]]);
  for (const name of executor.environmentNames) {
    const value = environment[name];
    if (value !== undefined) variables.set(name, value);
  }
  return Object.fromEntries(variables);
}
