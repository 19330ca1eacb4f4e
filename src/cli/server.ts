import { setImmediate } from 'node:timers/promises';
import type { Clock } from '../base/clock.ts';
import type { NewId } from '../base/id.ts';
import type { Log } from '../base/log.ts';
import { StatusError } from '../base/status.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import { defaultResumableUploadsOptions, ResumableUploads } from '../cas/resumable-uploads.ts';
import { ChunkedBlobs } from '../chunking/chunked-blobs.ts';
import { allChunkingFunctions } from '../chunking/chunking-functions.ts';
import { formatAddress, isLoopback } from '../config/address.ts';
import { ConfigError } from '../config/read-config.ts';
import type { ServerConfig } from '../config/server-config.ts';
import {
  type AnnouncedDigestFunctions,
  parseDigestFunctions,
} from '../digest/announced-digest-functions.ts';
import { checkInstanceName } from '../digest/instance-name.ts';
import { commitResult } from '../execution/commit-result.ts';
import { defaultExecutionOptions } from '../execution/execution-options.ts';
import { LocalExecution } from '../execution/local-execution.ts';
import { defaultLocalLogStreamsOptions, LocalLogStreams } from '../logs/local-log-streams.ts';
import type { LogStreams } from '../logs/log-streams.ts';
import { type Listener, listen } from '../rpc/grpc-server.ts';
import { Instances } from '../rpc/instances.ts';
import { defaultServerLimits, instanceLimitsFor } from '../rpc/limits.ts';
import type { Service } from '../rpc/method.ts';
import { actionCache } from '../rpc/services/action-cache.ts';
import { admin } from '../rpc/services/admin.ts';
import { byteStream } from '../rpc/services/byte-stream.ts';
import { capabilities } from '../rpc/services/capabilities.ts';
import { contentAddressableStorage } from '../rpc/services/content-addressable-storage.ts';
import { execution as executionService } from '../rpc/services/execution.ts';
import { logStream } from '../rpc/services/log-stream.ts';
import { health } from '../rpc/services/health.ts';
import { operations } from '../rpc/services/operations.ts';
import { reflection } from '../rpc/services/reflection.ts';
import { worker } from '../rpc/services/worker.ts';
import { defaultLocalSchedulerOptions, LocalScheduler } from '../scheduler/local-scheduler.ts';
import type { WorkQueue } from '../scheduler/work-queue.ts';
import { SystemError } from './exit-codes.ts';
import { assetServices } from './asset-services.ts';
import { openStorage, type Storage } from './open-storage.ts';

export interface ServerDeps {
  readonly clock: Clock;
  readonly newId: NewId;
  readonly log: Log;
}

/** A server that takes calls, until its stack is disposed of. */
export interface RunningServer {
  /** `host:port`, with the port that was taken. */
  readonly address: string;
  /** All that it answers. */
  readonly services: readonly Service[];
  readonly blobsOf: (instanceName: string) => BlobStore;
  /** Absent where there is only a cache. */
  readonly workQueue: WorkQueue | undefined;
  /** The same. */
  readonly logs: LogStreams | undefined;
  /** Tells whoever asks for its health that the server will be gone; it serves on until it is closed. */
  drain(): void;
}

/** Calls that are under way when a server stops have so long to end: a blob of a GiB on a slow line. */
const stopGraceMs = 10_000;

/**
 * Opens what is kept, and serves it. `closing` stops the server and closes all, the other way round.
 * Fails with a SystemError when the address or a folder is in use.
 */
export async function startServer(
  config: ServerConfig,
  deps: ServerDeps,
  closing: AsyncDisposableStack,
): Promise<RunningServer> {
  const { clock, log } = deps;
  const digestFunctions = checked(config);
  const storage = await openStorage(config, deps, closing);
  const scheduler =
    config.execution.backend === 'none' ? undefined : openScheduler(config, storage, deps);
  if (scheduler) closing.defer(() => scheduler.close());
  const logs = scheduler && (await openLogs(config, deps, closing));
  const { blobsOf, actionsOf } = storage;
  const options = { ...defaultExecutionOptions, ...config.execution };
  const execution =
    scheduler && new LocalExecution({ blobsOf, actionsOf, operations: scheduler, options, clock });
  const instances = new Instances(
    config.instanceNames.map((name) => ({
      name,
      blobs: blobsOf(name),
      chunkedBlobs: new ChunkedBlobs(blobsOf(name), allChunkingFunctions),
      uploads: openUploads(blobsOf(name), config, clock, closing),
      actions: actionsOf(name),
      digestFunctions,
      limits: instanceLimitsFor(config.casStorage.maxSizeBytes),
      actionCacheUpdates: config.actionCache.updatesAllowed,
      absoluteSymlinks: config.execution.absoluteSymlinks,
      execution,
      operations: scheduler,
    })),
  );
  const services: Service[] = [
    contentAddressableStorage(instances),
    byteStream(instances, logs),
    actionCache(instances, clock),
    assetServices(config, instances, deps, closing),
  ];
  const executing = [executionService(instances), operations(instances, clock)];
  if (scheduler) services.push(...executing);
  if (scheduler) services.push(admin(scheduler.administration, scheduler));
  if (logs) services.push(logStream(instances, logs));
  if (scheduler && config.execution.backend === 'scheduler') services.push(worker(scheduler));
  services.unshift(capabilities(instances, services.flat()));
  const draining = new AbortController();
  // A cache answers the calls of Execution, but only to say that it runs nothing.
  const refusing = scheduler ? [] : executing;
  const serving = [...services, health(services, draining.signal)];
  const all = [...serving, ...refusing, reflection(serving)];
  const listener = await listenAt(config, all, deps);
  closing.defer(() => listener.close(stopGraceMs));
  closing.defer(async () => {
    draining.abort();
    // Those who watch are told before their streams end: it takes them one turn of the event loop.
    await setImmediate();
  });
  lookAfter(storage, config, log, closing);
  if (!isLoopback(config.address.host)) {
    log.warn(
      `listening on ${listener.address}, beyond this machine, without authentication: ` +
        'everybody who can reach it can run commands and change what is stored',
    );
  }
  return {
    address: listener.address,
    services: all,
    blobsOf,
    workQueue: scheduler,
    logs,
    drain: () => draining.abort(),
  };
}

/** What waits for clients that may not come back takes a quarter of the space at most. */
const waitingUploadsShare = 1 / 4;

function openUploads(
  blobs: BlobStore,
  { casStorage, instanceNames }: ServerConfig,
  clock: Clock,
  closing: AsyncDisposableStack,
): ResumableUploads {
  const uploads = new ResumableUploads(blobs, clock, {
    ...defaultResumableUploadsOptions,
    waitingBytesMax: (casStorage.maxSizeBytes * waitingUploadsShare) / instanceNames.length,
  });
  closing.defer(() => uploads.close());
  return uploads;
}

async function openLogs(
  { logs: { rootPath: folder, maxSizeBytes: bytesMax, retentionMs } }: ServerConfig,
  { clock, newId }: ServerDeps,
  closing: AsyncDisposableStack,
): Promise<LocalLogStreams> {
  const options = { ...defaultLocalLogStreamsOptions, folder, bytesMax, retentionMs, clock, newId };
  const logs = await LocalLogStreams.open(options);
  closing.defer(() => logs.close());
  return logs;
}

function openScheduler(
  { execution }: ServerConfig,
  { blobsOf, actionsOf, operationRows }: Storage,
  { clock, newId, log }: ServerDeps,
): LocalScheduler {
  return new LocalScheduler({
    clock,
    newId,
    log,
    rows: operationRows,
    commit: commitResult({
      blobsOf,
      actionsOf,
      log,
      options: { ...defaultExecutionOptions, ...execution },
    }),
    limits: {
      ...defaultLocalSchedulerOptions.limits,
      queuedMax: execution.queueMax,
      ignoredProperties: execution.ignoredProperties,
      unmatchedGraceMs: execution.workerGraceMs,
      abandonQueuedAfterMs: execution.abandonQueuedAfterMs,
      abandonRunningAfterMs: execution.abandonRunningAfterMs,
    },
    updateEveryMs: defaultLocalSchedulerOptions.updateEveryMs,
  });
}

async function listenAt(
  { address }: ServerConfig,
  services: readonly Service[],
  { clock, newId, log }: ServerDeps,
): Promise<Listener> {
  try {
    const limits = defaultServerLimits;
    return await listen({ address: formatAddress(address), services, limits, clock, newId, log });
  } catch (thrown) {
    const { message } = StatusError.from(thrown);
    const isTaken = message.includes('EADDRINUSE');
    throw new SystemError(
      isTaken
        ? `${formatAddress(address)} is in use: stop what listens there, or choose another address ` +
            'with --address (port 0 takes a free one)'
        : message,
      { cause: thrown },
    );
  }
}

/** While calls are answered, clears up what an earlier process left behind, and looks for damage. */
function lookAfter(
  { blobStorage }: Storage,
  { casStorage: { verifyIntervalMs } }: ServerConfig,
  log: Log,
  closing: AsyncDisposableStack,
): void {
  const stopping = new AbortController();
  const { signal } = stopping;
  const attempt = (what: string, work: Promise<void>) =>
    work.catch((thrown: unknown) => {
      if (!signal.aborted) log.warn(`${what} failed`, { error: String(thrown) });
    });
  const done = attempt('sweeping', blobStorage.sweep(signal)).then(async () => {
    if (verifyIntervalMs === 0 || signal.aborted) return;
    await attempt('verifying blobs', blobStorage.verify(verifyIntervalMs, signal));
  });
  closing.defer(() => {
    stopping.abort();
    return done;
  });
}

/** What only the rooms know to be wrong is a problem of the configuration all the same. */
function checked({ digestFunctions, instanceNames }: ServerConfig): AnnouncedDigestFunctions {
  try {
    for (const name of instanceNames) checkInstanceName(name);
    return parseDigestFunctions(digestFunctions);
  } catch (thrown) {
    throw new ConfigError([StatusError.from(thrown).message]);
  }
}
