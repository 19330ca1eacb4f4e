import path from 'node:path';
import * as v from 'valibot';
import type { Address } from './address.ts';
import { dockerPlatform } from './docker-config.ts';
import { type ExecutorConfig, executorConfigOf, executorSchema } from './executor-config.ts';
import { address, amounts, count, duration, properties, section, size, text } from './keys.ts';
import { type LoggingConfig, loggingSchema } from './logging.ts';
import { ConfigError, readConfig, type Sources } from './read-config.ts';
import { dataFolder, type Surroundings } from './surroundings.ts';
import { type Chunking, chunkingKey, type Compression, compressionKey } from './transfers.ts';

/** What `expbuild worker` is told. The folder is absolute. */
export interface WorkerConfig {
  /** Undefined: the worker makes one up once and keeps it in its folder. */
  readonly workerId: string | undefined;
  readonly server: Address;
  readonly cas: Address;
  readonly compression: Compression;
  readonly chunking: Chunking;
  readonly slots: number;
  readonly rootPath: string;
  readonly cacheMaxSizeBytes: number;
  readonly drainTimeoutMs: number;
  /** What actions may ask for; a name may occur several times. */
  readonly properties: readonly { readonly name: string; readonly value: string }[];
  /** What running actions share, by name: an action's property of that name takes of it. */
  readonly capacities: ReadonlyMap<string, number>;
  readonly executor: ExecutorConfig;
  readonly logging: LoggingConfig;
}

export const workerSchema = section({
  worker_id: v.optional(
    text('The name of this worker, the same across restarts; without it one is made up and kept.'),
  ),
  server_url: v.optional(
    address('The server whose actions this worker runs.'),
    'http://localhost:50051',
  ),
  cas_url: v.optional(address('The server that holds the blobs; without it, that of server_url.')),
  compression: compressionKey,
  chunking: chunkingKey,
  slots: v.optional(
    count('How many actions run at once; without it, as many as there are cores.', 1, 10_000),
  ),
  root_path: v.optional(text('The folder of the input cache and of the running actions.')),
  cache_max_size: v.optional(
    size('The size at which inputs not used for the longest time make room.'),
    '10GiB',
  ),
  drain_timeout: v.optional(
    duration('How long running actions may take to end after SIGTERM.'),
    '5m',
  ),
  platform: v.optional(
    properties(
      'What actions may ask for by their platform properties; a value that ends with * stands for all ' +
        "that begin so. OSFamily and ISA are this machine's unless set.",
    ),
    {},
  ),
  capacity: v.optional(
    amounts(
      'What actions that run at one time share: an action takes as much of it as its platform property of ' +
        "that name says. cpu and memory are this machine's unless set.",
    ),
    {},
  ),
  executor: v.optional(executorSchema, {}),
  logging: v.optional(loggingSchema, {}),
});

/** Fails with a ConfigError that names every problem. A folder not configured is made in `data`. */
export function readWorkerConfig(
  sources: Sources,
  surroundings: Surroundings,
  data: string = dataFolder(surroundings),
): WorkerConfig {
  const values = readConfig(workerSchema, sources);
  const { executor } = values;
  const rootPath = values.root_path ?? path.join(data, 'worker');
  return {
    workerId: values.worker_id,
    server: values.server_url,
    cas: values.cas_url ?? values.server_url,
    compression: values.compression,
    chunking: values.chunking,
    slots: values.slots ?? surroundings.cores,
    rootPath: path.resolve(surroundings.workingFolder, rootPath),
    cacheMaxSizeBytes: values.cache_max_size,
    drainTimeoutMs: values.drain_timeout,
    properties: propertiesOf(
      executor.type === 'docker'
        ? { ...dockerPlatform(executor.docker), ...values.platform }
        : values.platform,
      surroundings,
    ),
    capacities: capacitiesOf(values.capacity, values.platform, surroundings),
    executor: executorConfigOf(executor, surroundings),
    logging: values.logging,
  };
}

/** A name that `platform` gives values to is matched by them. */
function capacitiesOf(
  configured: Readonly<Record<string, number>>,
  platform: Readonly<Record<string, unknown>>,
  { cores, memoryBytes }: Surroundings,
): ReadonlyMap<string, number> {
  const both = Object.keys(configured).find((name) => Object.hasOwn(platform, name));
  if (both !== undefined) {
    throw new ConfigError([`"platform.${both}" and "capacity.${both}" exclude each other`]);
  }
  const capacities = new Map(Object.entries({ cpu: cores, memory: memoryBytes, ...configured }));
  for (const name of Object.keys(platform)) capacities.delete(name);
  return capacities;
}

/** The words of the API's platform lexicon for what Node calls them. */
const osFamilies = new Map([
  ['linux', 'linux'],
  ['darwin', 'macos'],
  ['win32', 'windows'],
]);
const isas = new Map([
  ['x64', 'x86-64'],
  ['arm64', 'arm-v8'],
]);

function propertiesOf(
  platform: Readonly<Record<string, string | readonly string[]>>,
  { os, arch }: Surroundings,
): WorkerConfig['properties'] {
  if (Object.hasOwn(platform, 'isolation')) {
    throw new ConfigError(['"platform.isolation" is for the worker to say: see executor.type']);
  }
  const values = new Map(Object.entries(platform));
  if (!values.has('OSFamily')) values.set('OSFamily', osFamilies.get(os) ?? os);
  if (!values.has('ISA')) values.set('ISA', isas.get(arch) ?? arch);
  return [...values].flatMap(([name, value]) =>
    [value].flat().map((one) => ({ name, value: one })),
  );
}
