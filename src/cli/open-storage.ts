import path from 'node:path';
import type { ActionCache, ActionCacheStorage } from '../action-cache/action-cache.ts';
import { withCompleteness } from '../action-cache/completeness.ts';
import { KnownTrees } from '../action-cache/known-trees.ts';
import { MemoryActionCache } from '../action-cache/memory-action-cache.ts';
import { SqliteActionCache } from '../action-cache/sqlite-action-cache.ts';
import { withRelativeSymlinks } from '../action-cache/with-relative-symlinks.ts';
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import { makeFolder } from '../base/make-folder.ts';
import { Code, StatusError } from '../base/status.ts';
import type { BlobStorage } from '../cas/blob-storage.ts';
import { FilesystemBlobs } from '../cas/filesystem-blobs.ts';
import { lockFolder } from '../cas/lock-folder.ts';
import { MemoryBlobs } from '../cas/memory-blobs.ts';
import { withMaxBlobSize } from '../cas/with-max-blob-size.ts';
import { chunkListMigrations, ChunkLists } from '../chunking/chunk-lists.ts';
import type { ComposingStore } from '../chunking/chunked-blobs.ts';
import { SplicedBlobs } from '../chunking/spliced-blobs.ts';
import type { ServerConfig } from '../config/server-config.ts';
import { instanceLimitsFor } from '../rpc/limits.ts';
import { operationMigrations, SqliteOperationRows } from '../scheduler/sqlite-operation-rows.ts';
import { openDatabase } from '../sqlite/open-database.ts';
import { defaultTreeLimits } from '../tree/walk-directories.ts';
import { SystemError } from './exit-codes.ts';

/** The lists of files in output trees, some 300,000 of them: what a large build asks for again. */
const knownTreesMaxSizeBytes = 64 * 2 ** 20;

/** What a server keeps, by instance name. */
export interface Storage {
  readonly blobStorage: BlobStorage;
  readonly blobsOf: (instanceName: string) => ComposingStore;
  readonly actionsOf: (instanceName: string) => ActionCache;
  readonly operationRows: SqliteOperationRows;
}

/**
 * Opens all that is kept; `closing` closes it. Fails with a SystemError when another process has one of
 * the folders.
 */
export async function openStorage(
  config: ServerConfig,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
  closing: AsyncDisposableStack,
): Promise<Storage> {
  try {
    if (!isInMemory(config)) makePrivate(config.casStorage.rootPath);
    const blobStorage = await openBlobs(config, clock, log);
    closing.defer(() => blobStorage.close());
    for (const folder of otherFolders(config)) {
      makePrivate(folder);
      closing.defer(lockFolder(folder));
    }
    const results = openActions(config, clock);
    closing.defer(() => results.close());
    const lists = openDatabase(
      isInMemory(config) ? ':memory:' : path.join(config.casStorage.rootPath, 'chunk_lists.db'),
      chunkListMigrations,
      { synchronous: 'FULL' },
    );
    closing.defer(() => void lists.close());
    const operations = openDatabase(
      isInMemory(config) ? ':memory:' : path.join(config.schedulerRootPath, 'operations.db'),
      operationMigrations,
      { synchronous: 'FULL' },
    );
    closing.defer(() => void operations.close());
    return {
      blobStorage,
      ...instancesOf(config, blobStorage, new ChunkLists(lists), results),
      operationRows: new SqliteOperationRows(operations),
    };
  } catch (thrown) {
    const { code, message } = StatusError.from(thrown);
    if (code !== Code.FAILED_PRECONDITION) throw thrown;
    throw new SystemError(message, { cause: thrown });
  }
}

function instancesOf(
  { instanceNames, sharedStorage, casStorage, execution }: ServerConfig,
  blobStorage: BlobStorage,
  lists: ChunkLists,
  results: ActionCacheStorage,
): Pick<Storage, 'blobsOf' | 'actionsOf'> {
  const options = {
    treeLimits: defaultTreeLimits,
    knownTrees: new KnownTrees(knownTreesMaxSizeBytes),
  };
  const { blobBytesMax } = instanceLimitsFor(casStorage.maxSizeBytes);
  const byName = new Map(
    instanceNames.map((name) => {
      const whole = withMaxBlobSize(blobStorage.namespace(name), blobBytesMax);
      const blobs = new SplicedBlobs(whole, { namespace: name, lists, blobBytesMax });
      const complete = withCompleteness(results.namespace(name), blobs, options);
      const actions =
        execution.absoluteSymlinks === 'allowed'
          ? complete
          : withRelativeSymlinks(complete, blobs, defaultTreeLimits);
      return [name, { blobs, actions }];
    }),
  );
  const get = (name: string) => {
    const instance = byName.get(sharedStorage.get(name) ?? name);
    // An operation that was accepted before the configuration changed.
    if (!instance) throw new StatusError(Code.NOT_FOUND, `there is no instance "${name}" any more`);
    return instance;
  };
  return { blobsOf: (name) => get(name).blobs, actionsOf: (name) => get(name).actions };
}

function openBlobs({ casStorage }: ServerConfig, clock: Clock, log: Log): Promise<BlobStorage> {
  const { rootPath: root, maxSizeBytes: sizeBytesMax, durability } = casStorage;
  if (casStorage.type === 'memory') return Promise.resolve(new MemoryBlobs({ sizeBytesMax }));
  return FilesystemBlobs.open({ root, sizeBytesMax, durability }, clock, log);
}

function openActions({ actionCache }: ServerConfig, clock: Clock): ActionCacheStorage {
  const { rootPath, maxSizeBytes } = actionCache;
  if (actionCache.type === 'memory') return new MemoryActionCache({ maxSizeBytes });
  return new SqliteActionCache(path.join(rootPath, 'action_cache.db'), { maxSizeBytes }, clock);
}

/** Operations outlive a restart only if their inputs do. */
const isInMemory = ({ casStorage }: ServerConfig) => casStorage.type === 'memory';

/** For this user alone; the folder around it may hold a worker's, which other users pass through. */
function makePrivate(folder: string): void {
  makeFolder(path.dirname(folder), 0o711);
  makeFolder(folder, 0o700);
}

/** The folders beside that of the blobs, which has its own lock; each once. */
function otherFolders(config: ServerConfig): Set<string> {
  const folders = new Set<string>();
  if (config.actionCache.type === 'sqlite') folders.add(config.actionCache.rootPath);
  if (isInMemory(config)) return folders;
  folders.add(config.schedulerRootPath);
  if (config.remoteAsset.enabled) folders.add(config.remoteAsset.rootPath);
  if (config.logs.rootPath !== undefined) folders.add(config.logs.rootPath);
  folders.delete(config.casStorage.rootPath);
  return folders;
}
