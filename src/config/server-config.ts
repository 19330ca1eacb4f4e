import path from 'node:path';
import * as v from 'valibot';
import {
  type ActionCacheConfig,
  actionCacheConfigOf,
  actionCacheSchema,
} from './action-cache-config.ts';
import type { Address } from './address.ts';
import {
  type CasStorageConfig,
  casStorageConfigOf,
  casStorageSchema,
} from './cas-storage-config.ts';
import { type ExecutionConfig, executionConfigOf, executionSchema } from './execution-config.ts';
import { address, list, section, text, texts } from './keys.ts';
import { type LogsConfig, logsConfigOf, logsSchema } from './logs-config.ts';
import { type LoggingConfig, loggingSchema } from './logging.ts';
import { ConfigError, readConfig, type Sources } from './read-config.ts';
import {
  type RemoteAssetConfig,
  remoteAssetConfigOf,
  remoteAssetSchema,
} from './remote-asset-config.ts';
import { dataFolder, type FolderOf, type Surroundings } from './surroundings.ts';

/** What `expbuild server` is told. Folders are absolute. */
export interface ServerConfig {
  readonly address: Address;
  readonly instanceNames: readonly string[];
  /** By name, the instance whose blobs and results an instance uses in place of its own. */
  readonly sharedStorage: ReadonlyMap<string, string>;
  readonly casStorage: CasStorageConfig;
  readonly actionCache: ActionCacheConfig;
  readonly execution: ExecutionConfig;
  /** Names of digest functions, the preferred one first. */
  readonly digestFunctions: readonly string[];
  readonly schedulerRootPath: string;
  readonly remoteAsset: RemoteAssetConfig;
  readonly logs: LogsConfig;
  readonly logging: LoggingConfig;
}

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
      v.check((names) => new Set(names).size === names.length, 'names an instance twice'),
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
  const folder: FolderOf = (own, name) =>
    path.resolve(surroundings.workingFolder, own ?? path.join(data, name));
  const hasLogFiles =
    values.cas_storage.type === 'filesystem' && values.execution.backend !== 'none';
  return {
    address: values.address,
    instanceNames: values.instance_names,
    sharedStorage: sharedStorageOf(values),
    casStorage: casStorageConfigOf(values.cas_storage, folder),
    actionCache: actionCacheConfigOf(values.action_cache, folder),
    execution: executionConfigOf(values.execution),
    digestFunctions: values.digest.functions,
    schedulerRootPath: folder(values.scheduler.root_path, 'scheduler'),
    remoteAsset: remoteAssetConfigOf(values.remote_asset, folder),
    logs: logsConfigOf(
      values.logs,
      hasLogFiles ? folder(values.logs.root_path, 'logs') : undefined,
    ),
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
