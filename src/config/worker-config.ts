import path from 'node:path';
import * as v from 'valibot';
import type { Address } from './address.ts';
import {
  address,
  amounts,
  choice,
  count,
  duration,
  list,
  properties,
  section,
  size,
  text,
} from './keys.ts';
import {
  type DockerConfig,
  dockerConfigOf,
  dockerPlatform,
  dockerSchema,
} from './docker-config.ts';
import { type LoggingConfig, loggingSchema } from './logging.ts';
import { ConfigError, readConfig, type Sources } from './read-config.ts';
import { dataFolder, type Surroundings } from './surroundings.ts';
import { type Chunking, chunkingKey, type Compression, compressionKey } from './transfers.ts';

export interface CommandUsers {
  readonly firstUid: number;
  /** Undefined: the number of the user. */
  readonly gid: number | undefined;
  /** The first user was chosen, and not made up here. */
  readonly isFixed: boolean;
}

/** How commands are run. */
export interface ExecutorConfig {
  /** `auto` is `sandbox` where it works, else `host`. */
  readonly type: 'auto' | 'host' | 'sandbox' | 'docker';
  readonly environmentNames: readonly string[];
  /** Undefined: commands run as the worker does. Else each slot has a user of its own. */
  readonly users: CommandUsers | undefined;
  readonly readonlyPaths: readonly string[];
  readonly tmpMaxSizeBytes: number;
  readonly network: 'none' | 'on-request';
  /** The absolute path of a network namespace; undefined for the machine's own. */
  readonly networkNamespace: string | undefined;
  readonly killGraceMs: number;
  /** For each action; undefined for as much as the machine has. */
  readonly memoryMaxBytes: number | undefined;
  readonly cpusMax: number | undefined;
  readonly processesMax: number;
  /** Of each file that a command writes. */
  readonly fileMaxSizeBytes: number;
  readonly docker: DockerConfig;
}

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

/** Node takes ids as signed numbers of 32 bits, and each slot has one more. */
const ID_MAX = 2 ** 31 - 1 - 10_000;

const executorSchema = section({
  type: v.optional(
    choice(
      'How commands are run: "sandbox" shuts each in with bubblewrap, "host" starts them as ' +
        'processes of this machine, "docker" runs each in a container, and "auto" takes the sandbox ' +
        'where it works and else the host, with a warning.',
      ['auto', 'host', 'sandbox', 'docker'],
      ['firecracker', 'kvm', 'vm'],
    ),
    'auto',
  ),
  env_whitelist: v.optional(
    list("The worker's own environment variables that commands get; their action's values win."),
    [],
  ),
  uid: v.optional(
    count(
      'The user id that commands of the first slot run as; each other slot has the next one. Only ' +
        'root can choose it; 0 runs them as root.',
      0,
      ID_MAX,
    ),
  ),
  gid: v.optional(
    count('The group id that commands run as; without it, the same number as uid.', 0, ID_MAX),
  ),
  readonly_paths: v.optional(
    list(
      'Files and folders that commands in the sandbox see and cannot change, beside /usr and what ' +
        'belongs to it.',
    ),
    [],
  ),
  tmp_max_size: v.optional(
    size('The size of /tmp in the sandbox, and of /dev/shm; what is in them takes memory.'),
    '1GiB',
  ),
  network: v.optional(
    choice(
      'Whether commands in the sandbox may have the machine\'s network: "none", or "on-request" for ' +
        'those whose platform property network is "on".',
      ['none', 'on-request'],
    ),
    'none',
  ),
  network_namespace: v.optional(
    text(
      'The network namespace that commands in the sandbox get which ask for the network, by its name as ' +
        "`ip netns` has it, or by an absolute path; without it, the machine's own network. Needs root.",
    ),
  ),
  memory_max: v.optional(
    size(
      'The memory that each action may use, what is in the /tmp of a sandbox included; without it, what ' +
        'the action asks for by its platform property memory, else all there is. Needs a cgroup.',
      // What starts a command needs some of it.
      '16MiB',
    ),
  ),
  cpus_max: v.optional(
    count(
      "How many cores' time each action may use; without it, what the action asks for by its platform " +
        'property cpu, else all there is. Needs a cgroup.',
      1,
      4_096,
    ),
  ),
  processes_max: v.optional(
    count('How many processes and threads each action may have.', 16, 4_194_304),
    4_096,
  ),
  file_max_size: v.optional(
    size('The size of the largest file that a command may write.'),
    // All outputs of an action may be as large together.
    '64GiB',
  ),
  kill_grace: v.optional(
    duration('How long a command has between SIGTERM and SIGKILL when its time is over.'),
    '2s',
  ),
  docker: v.optional(dockerSchema, {}),
});

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
    executor: {
      type: executor.type,
      environmentNames: executor.env_whitelist,
      users: usersOf(executor, surroundings),
      readonlyPaths: executor.readonly_paths,
      tmpMaxSizeBytes: executor.tmp_max_size,
      network: executor.network,
      networkNamespace: networkNamespaceOf(executor),
      killGraceMs: executor.kill_grace,
      memoryMaxBytes: executor.memory_max,
      cpusMax: executor.cpus_max,
      processesMax: executor.processes_max,
      fileMaxSizeBytes: executor.file_max_size,
      docker: dockerConfigOf(executor.docker, executor.type === 'docker', surroundings),
    },
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

/** Where `ip netns` keeps namespaces, by name. */
const NETWORK_NAMESPACES = '/run/netns';

function networkNamespaceOf({
  type,
  network,
  network_namespace: namespace,
}: v.InferOutput<typeof executorSchema>): string | undefined {
  if (namespace === undefined) return undefined;
  if (type !== 'sandbox' || network !== 'on-request') {
    throw new ConfigError([
      'key "executor.network_namespace" needs executor.type = "sandbox" and executor.network = "on-request"',
    ]);
  }
  if (path.isAbsolute(namespace)) return path.normalize(namespace);
  if (path.basename(namespace) === namespace && !['.', '..'].includes(namespace)) {
    return path.join(NETWORK_NAMESPACES, namespace);
  }
  throw new ConfigError([
    'key "executor.network_namespace" must be a name, such as "builds", or an absolute path',
  ]);
}

/**
 * Above the users of people and packages, below those of subuid. systemd gives 61184 to 65519 to services with
 * DynamicUser=yes: these have accounts while they run, where nss-systemd tells of them.
 */
const DEFAULT_UID = 64_000;

function usersOf(
  { uid, gid }: { uid?: number | undefined; gid?: number | undefined },
  { uid: own }: Surroundings,
): ExecutorConfig['users'] {
  const firstUid = uid ?? (own === 0 ? DEFAULT_UID : undefined);
  if (firstUid === undefined && gid !== undefined) {
    throw new ConfigError(['key "executor.gid" needs "executor.uid" beside it']);
  }
  if (firstUid === undefined || firstUid === 0) return undefined;
  return { firstUid, gid, isFixed: uid !== undefined };
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
