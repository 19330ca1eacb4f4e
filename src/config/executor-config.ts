import path from 'node:path';
import * as v from 'valibot';
import { type DockerConfig, dockerConfigOf, dockerSchema } from './docker-config.ts';
import { choice, count, duration, list, section, size, text } from './keys.ts';
import { ConfigError } from './read-config.ts';
import type { Surroundings } from './surroundings.ts';

/** Whom commands run as: each slot has the user after that of the slot before. */
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

/** Node takes ids as signed numbers of 32 bits, and each slot has one more. */
const ID_MAX = 2 ** 31 - 1 - 10_000;

export const executorSchema = section({
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
    size(
      'The size of /tmp in the sandbox or a container, and of /dev/shm; what is in them takes memory.',
    ),
    '1GiB',
  ),
  network: v.optional(
    choice(
      'Whether commands in the sandbox or in containers may have a network: "none", or "on-request" for ' +
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

type Values = v.InferOutput<typeof executorSchema>;

/** Fails with a ConfigError when keys exclude each other or need others. */
export function executorConfigOf(values: Values, surroundings: Surroundings): ExecutorConfig {
  return {
    type: values.type,
    environmentNames: values.env_whitelist,
    users: usersOf(values, surroundings),
    readonlyPaths: values.readonly_paths,
    tmpMaxSizeBytes: values.tmp_max_size,
    network: values.network,
    networkNamespace: networkNamespaceOf(values),
    killGraceMs: values.kill_grace,
    memoryMaxBytes: values.memory_max,
    cpusMax: values.cpus_max,
    processesMax: values.processes_max,
    fileMaxSizeBytes: values.file_max_size,
    docker: dockerConfigOf(values.docker, values.type === 'docker', surroundings),
  };
}

/** Where `ip netns` keeps namespaces, by name. */
const NETWORK_NAMESPACES = '/run/netns';

function networkNamespaceOf({
  type,
  network,
  network_namespace: namespace,
}: Values): string | undefined {
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
    `key "executor.network_namespace" must be a name, such as "builds", or an absolute path; it is "${namespace}"`,
  ]);
}

/**
 * Above the users of people and packages, below those of subuid. systemd gives 61184 to 65519 to services with
 * DynamicUser=yes: these have accounts while they run, where nss-systemd tells of them.
 */
const DEFAULT_UID = 64_000;

function usersOf({ uid, gid }: Values, { uid: own }: Surroundings): CommandUsers | undefined {
  const firstUid = uid ?? (own === 0 ? DEFAULT_UID : undefined);
  if (firstUid === undefined && gid !== undefined) {
    throw new ConfigError(['key "executor.gid" needs "executor.uid" beside it']);
  }
  if (firstUid === undefined || firstUid === 0) return undefined;
  return { firstUid, gid, isFixed: uid !== undefined };
}
