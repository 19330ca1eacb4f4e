import path from 'node:path';
import * as v from 'valibot';
import type { Address } from './address.ts';
import {
  address,
  choice,
  count,
  duration,
  flag,
  list,
  section,
  size,
  text,
  texts,
} from './keys.ts';
import { type LogsConfig, logsConfig, logsSchema } from './logs-config.ts';
import { type LoggingConfig, loggingSchema } from './logging.ts';
import { ConfigError, readConfig, type Sources } from './read-config.ts';
import {
  type RemoteAssetConfig,
  remoteAssetConfig,
  remoteAssetSchema,
} from './remote-asset-config.ts';
import { dataFolder, type Surroundings } from './surroundings.ts';

/** What `expbuild server` is told. Folders are absolute. */
export interface ServerConfig {
  readonly address: Address;
  readonly instanceNames: readonly string[];
  /** By name, the instance whose blobs and results an instance uses in place of its own. */
  readonly sharedStorage: ReadonlyMap<string, string>;
  readonly casStorage: {
    readonly type: 'filesystem' | 'memory';
    readonly rootPath: string;
    readonly maxSizeBytes: number;
    readonly durability: 'full' | 'normal';
    /** 0: never. */
    readonly verifyIntervalMs: number;
  };
  readonly actionCache: {
    readonly type: 'sqlite' | 'memory';
    readonly rootPath: string;
    readonly maxSizeBytes: number;
    readonly updatesAllowed: boolean;
  };
  readonly execution: {
    readonly backend: 'scheduler' | 'direct' | 'none';
    readonly defaultTimeoutMs: number;
    readonly maxTimeoutMs: number;
    readonly workerGraceMs: number;
    readonly abandonQueuedAfterMs: number;
    readonly abandonRunningAfterMs: number;
    readonly queueMax: number;
    /** Names of platform properties that choose no worker. */
    readonly ignoredProperties: readonly string[];
    readonly absoluteSymlinks: 'allowed' | 'disallowed';
  };
  /** Names of digest functions, the preferred one first. */
  readonly digestFunctions: readonly string[];
  readonly schedulerRootPath: string;
  readonly remoteAsset: RemoteAssetConfig;
  readonly logs: LogsConfig;
  readonly logging: LoggingConfig;
}

/** By type: a small part of a build host's disk, and of its memory. */
const casMaxSizeBytes = { filesystem: 50 * 2 ** 30, memory: 2 ** 30 };

const casStorageSchema = section({
  type: v.optional(
    choice('Where blobs are kept: as files, or in memory until the server stops.', [
      'filesystem',
      'memory',
    ]),
    'filesystem',
  ),
  root_path: v.optional(text('The folder of the blobs.')),
  max_size: v.optional(
    size(
      'The size at which blobs not used for the longest time make room; 50GiB, or 1GiB in memory, ' +
        'unless set.',
    ),
  ),
  durability: v.optional(
    choice(
      'What survives a loss of power: with "full" every acknowledged upload; with "normal" uploads ' +
        'of the last seconds may be lost, and are noticed as missing.',
      ['full', 'normal'],
    ),
    'full',
  ),
  verify_interval: v.optional(
    duration(
      'How long it takes to read all blobs once, to find those that were damaged on the disk; then it ' +
        'begins again. "0s" never does.',
    ),
    '7d',
  ),
});

const actionCacheSchema = section({
  type: v.optional(
    choice(
      'Where results are kept: in an SQLite database, which "filesystem" means too, or in memory.',
      ['sqlite', 'filesystem', 'memory'],
    ),
    'sqlite',
  ),
  root_path: v.optional(text('The folder of the database.')),
  max_size: v.optional(
    size('The size at which results not used for the longest time make room.'),
    '1GiB',
  ),
  updates_allowed: v.optional(
    flag(
      'Whether clients may store results of actions that they ran themselves; results of actions ' +
        'that workers ran are stored in any case.',
    ),
    true,
  ),
});

const executionSchema = section({
  backend: v.optional(
    choice(
      'Who runs actions: workers that connect ("scheduler"), this process ("direct"), or nobody, ' +
        'which leaves a cache ("none").',
      ['scheduler', 'direct', 'none'],
    ),
    'scheduler',
  ),
  default_timeout: v.optional(
    duration('How long an action may run that does not say so itself.'),
    '15m',
  ),
  max_timeout: v.optional(
    duration('The longest timeout an action may ask for; more is refused.'),
    '24h',
  ),
  worker_grace: v.optional(
    duration('How long an action waits for a worker that fits it to connect, before it fails.'),
    '60s',
  ),
  abandon_queued_after: v.optional(
    duration('How long an action stays in the queue when no client waits for it any more.'),
    '60s',
  ),
  abandon_running_after: v.optional(
    duration(
      'How long an action goes on running when no client waits for it any more: one that comes back ' +
        'finds it.',
    ),
    '10m',
  ),
  queue_max: v.optional(
    count('How many actions may wait at once; more are refused.', 1, 10_000_000),
    100_000,
  ),
  ignored_properties: v.optional(
    list(
      'The platform properties that choose no worker, by name. With container-image among them, actions that ' +
        'ask for an image run on any worker, in whatever that one has.',
    ),
    [
      'Pool',
      'JDK_SYMLINK',
      'unixUID',
      'unixGID',
      'remoteApisSocketPath',
      'InputRootAbsolutePath',
      'persistentWorkerKey',
      'persistentWorkerProtocol',
    ],
  ),
  absolute_symlinks: v.optional(
    choice(
      'Whether symlinks among inputs and outputs may have absolute targets, which mean something ' +
        'else on each host.',
      ['allowed', 'disallowed'],
    ),
    'allowed',
  ),
});

const digestSchema = section({
  functions: v.optional(
    list('The digest functions that clients may use, the preferred one first.'),
    ['SHA256', 'BLAKE3'],
  ),
});

const schedulerSchema = section({
  root_path: v.optional(
    text('The folder of the database that keeps accepted actions across restarts.'),
  ),
});

export const serverSchema = section({
  address: v.optional(
    address('Where the server listens; port 0 takes a free port.'),
    '127.0.0.1:50051',
  ),
  instance_names: v.optional(
    v.pipe(
      list(
        'The instance names that exist: each has its own blobs and results, unless it shares them.',
      ),
      v.minLength(1, 'must name at least one instance'),
    ),
    ['', 'main'],
  ),
  shared_storage: v.optional(
    texts(
      'Instances without blobs and results of their own, each with the name of the instance whose it ' +
        'uses. Operations are never shared.',
    ),
    {},
  ),
  cas_storage: v.optional(casStorageSchema, {}),
  action_cache: v.optional(actionCacheSchema, {}),
  execution: v.optional(executionSchema, {}),
  digest: v.optional(digestSchema, {}),
  scheduler: v.optional(schedulerSchema, {}),
  remote_asset: v.optional(remoteAssetSchema, {}),
  logs: v.optional(logsSchema, {}),
  logging: v.optional(loggingSchema, {}),
});

/** Fails with a ConfigError that names every problem. Folders not configured are made in `data`. */
export function readServerConfig(
  sources: Sources,
  surroundings: Surroundings,
  data: string = dataFolder(surroundings),
): ServerConfig {
  const values = readConfig(serverSchema, sources);
  const folder = (own: string | undefined, name: string) =>
    path.resolve(surroundings.workingFolder, own ?? path.join(data, name));
  const hasLogFiles =
    values.cas_storage.type === 'filesystem' && values.execution.backend !== 'none';
  return {
    address: values.address,
    instanceNames: values.instance_names,
    sharedStorage: sharedStorageOf(values),
    casStorage: {
      type: values.cas_storage.type,
      rootPath: folder(values.cas_storage.root_path, 'cas'),
      maxSizeBytes: values.cas_storage.max_size ?? casMaxSizeBytes[values.cas_storage.type],
      durability: values.cas_storage.durability,
      verifyIntervalMs: values.cas_storage.verify_interval,
    },
    actionCache: {
      type: values.action_cache.type === 'memory' ? 'memory' : 'sqlite',
      rootPath: folder(values.action_cache.root_path, 'action_cache'),
      maxSizeBytes: values.action_cache.max_size,
      updatesAllowed: values.action_cache.updates_allowed,
    },
    execution: {
      backend: values.execution.backend,
      defaultTimeoutMs: values.execution.default_timeout,
      maxTimeoutMs: values.execution.max_timeout,
      workerGraceMs: values.execution.worker_grace,
      abandonQueuedAfterMs: values.execution.abandon_queued_after,
      abandonRunningAfterMs: values.execution.abandon_running_after,
      queueMax: values.execution.queue_max,
      ignoredProperties: values.execution.ignored_properties,
      absoluteSymlinks: values.execution.absolute_symlinks,
    },
    digestFunctions: values.digest.functions,
    schedulerRootPath: folder(values.scheduler.root_path, 'scheduler'),
    remoteAsset: remoteAssetConfig(values.remote_asset, folder),
    logs: logsConfig(values.logs, hasLogFiles ? folder(values.logs.root_path, 'logs') : undefined),
    logging: values.logging,
  };
}

/** Fails with a ConfigError unless each instance that is named exists, and those used have storage. */
function sharedStorageOf(values: {
  readonly instance_names: readonly string[];
  readonly shared_storage: Readonly<Record<string, string>>;
}): Map<string, string> {
  const shared = new Map(Object.entries(values.shared_storage));
  const exists = (name: string) => values.instance_names.includes(name);
  const problems: string[] = [];
  for (const [name, used] of shared) {
    const complain = (what: string) =>
      problems.push(
        `key "shared_storage" has ${JSON.stringify(name)} = ${JSON.stringify(used)}: ${what}`,
      );
    if (!exists(name)) complain(`instance_names has no ${JSON.stringify(name)}`);
    if (!exists(used)) complain(`instance_names has no ${JSON.stringify(used)}`);
    else if (shared.has(used)) complain(`${JSON.stringify(used)} has no storage of its own`);
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return shared;
}
