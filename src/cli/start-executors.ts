import { createHash } from 'node:crypto';
import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import type { NewId } from '../base/id.ts';
import type { Log } from '../base/log.ts';
import { Code, StatusError } from '../base/status.ts';
import type { Surroundings } from '../config/surroundings.ts';
import type { ExecutorConfig, WorkerConfig } from '../config/worker-config.ts';
import type { Executor, Owner } from '../executor/executor.ts';
import { defaultPath, findExecutable } from '../executor/find-executable.ts';
import {
  defaultHostExecutorOptions,
  HostExecutor,
  type HostExecutorOptions,
} from '../executor/host-executor.ts';
import { claimUsers } from '../executor/claim-users.ts';
import { type CgroupRequest, endLeft } from '../executor/command-cgroup.ts';
import { endStrays } from '../executor/end-strays.ts';
import { findCgroupParents, placesBelow } from '../executor/find-cgroups.ts';
import { findNetworkNamespace } from '../executor/network-namespace.ts';
import { fileBytesMax, openFilesMax } from '../executor/own-limits.ts';
import type { IsolationLevel } from '../executor/isolation-levels.ts';
import {
  hostPromises,
  hostUserPromises,
  type Promised,
  sandboxPromises,
  withNetwork,
} from '../executor/promises.ts';
import { Sandbox } from '../executor/sandbox.ts';
import { messageQueuesFolder, removeAllOf } from '../executor/user-belongings.ts';
import type { Proof } from '../worker/self-tests.ts';
import { proofOf, prove } from './prove-isolation.ts';
import { SystemError } from './exit-codes.ts';
import { launcherCommand } from './launcher-command.ts';

export interface StartedExecutors {
  /** One for each slot. */
  readonly executors: readonly Executor[];
  /** What commands are kept from, in one line, as far as a first command proved it. */
  readonly isolation: string;
  /** What the first command proved, for it to be proved again. */
  readonly proofs: readonly Proof[];
}

export interface LevelledExecutors extends StartedExecutors {
  /** What all of that amounts to. */
  readonly level: IsolationLevel;
}

export interface WorkerIdentity {
  readonly workerId: string;
  readonly newId: NewId;
}

const never = new AbortController().signal;
/** More than a sandbox takes for itself, and zombies that nobody has waited for. */
const spareProcesses = 64;

/**
 * Starts what runs the commands of each slot, and proves by a first command that it keeps them from what
 * it shall. Fails with a SystemError that says what is missing: nothing weaker than what is configured is
 * taken, but with "auto" (DK-16).
 */
export async function startExecutors(
  config: WorkerConfig,
  worker: WorkerIdentity,
  surroundings: Pick<Surroundings, 'environment'>,
  log: Log,
  closing: AsyncDisposableStack,
): Promise<LevelledExecutors> {
  const { executor, rootPath } = config;
  const users = await usersOf(config, closing);
  await endLeftCommands(rootPath, users);
  if (executor.type === 'docker') return startInContainers(config, users, worker, log, closing);
  for (const utility of ['prlimit', 'setpriv']) refuseWithout(utility);
  if (users[0]) refuseUnreachable(rootPath, users[0].uid);
  if (executor.type !== 'host') {
    try {
      return await startSandboxed(config, users, surroundings, log, closing);
    } catch (thrown) {
      const { code, message } = StatusError.from(thrown);
      if (code !== Code.FAILED_PRECONDITION) throw thrown;
      if (executor.type === 'sandbox') throw new SystemError(message, { cause: thrown });
      log.warn('commands run without a sandbox', { why: message });
    }
  }
  try {
    return await startOnHost(config, users, log, closing);
  } catch (thrown) {
    const { code, message } = StatusError.from(thrown);
    if (code !== Code.FAILED_PRECONDITION) throw thrown;
    throw new SystemError(message, { cause: thrown });
  }
}

/** A worker that was killed with its launchers left commands, and nobody to end them. */
async function endLeftCommands(
  rootPath: string,
  users: readonly (Owner | undefined)[],
): Promise<void> {
  const actions = path.join(rootPath, 'actions');
  try {
    const left = existsSync(actions) ? readdirSync(actions) : [];
    await endStrays(left.map((name) => path.join(actions, name)));
    for (const user of users) if (user?.isPrivate === true) await removeAllOf(user);
  } catch (thrown) {
    throw new SystemError(StatusError.from(thrown).message, { cause: thrown });
  }
}

async function startInContainers(
  config: WorkerConfig,
  users: readonly (Owner | undefined)[],
  worker: WorkerIdentity,
  log: Log,
  closing: AsyncDisposableStack,
): Promise<LevelledExecutors> {
  // Its packages take time to load, which other workers need not spend.
  const { isGvisor, startDocker } = await import('./start-docker.ts');
  try {
    const started = await startDocker(config, users, { ...worker, log }, closing);
    const isolation = `${started.isolation}, as ${usersInWords(users)}`;
    log.info('executor', { isolation });
    const level = isGvisor(config.executor.docker.runtime) ? 'gvisor' : 'docker';
    return { ...started, isolation, level };
  } catch (thrown) {
    const { code, message } = StatusError.from(thrown);
    if (code === Code.CANCELLED) throw thrown;
    throw new SystemError(message, { cause: thrown });
  }
}

async function startOnHost(
  config: WorkerConfig,
  users: readonly (Owner | undefined)[],
  log: Log,
  closing: AsyncDisposableStack,
): Promise<LevelledExecutors> {
  // A launcher takes it from those who start it, and all that it starts have it.
  const [first, ...rest] = launcherCommand();
  const command = ['setpriv', '--no-new-privs', '--inh-caps=-all', '--', first, ...rest] as const;
  const limits = commandLimits(config);
  // Those that nobody sees could not be removed either; a sandbox has its own.
  const noQueues = users[0] && messageQueuesFolder() === undefined ? ['--msgqueue=0'] : [];
  const resourceLimits = [...limits.resourceLimits, ...noQueues];
  const options = { ...limits, resourceLimits, launcherCommand: command };
  const executors = await startEach(options, users, closing);
  const promises = users[0] ? hostUserPromises : hostPromises;
  const [tested] = executors;
  const help = 'Run the worker on Linux, as root or as an ordinary user';
  const proofs = [proofOf('host', promises, help)];
  if (tested) await prove(tested, proofs, config);
  const isolation = described('host', users, promises, limits);
  log.info('executor', { isolation });
  if (!users[0]) log.warn('commands run as the worker does, and can do what it can');
  if (process.pid === 1) {
    log.warn('what commands leave behind is ended but stays in the list of processes', {
      why: 'the worker is process 1 here, which has to wait for orphans, and does not',
      help: 'start it below an init, as docker run --init does',
    });
  }
  return { executors, isolation, proofs, level: 'host' };
}

async function startSandboxed(
  config: WorkerConfig,
  users: readonly (Owner | undefined)[],
  { environment }: Pick<Surroundings, 'environment'>,
  log: Log,
  closing: AsyncDisposableStack,
): Promise<LevelledExecutors> {
  const { executor, rootPath } = config;
  const { networkNamespace } = executor;
  const network = networkNamespace ? await findNetworkNamespace(networkNamespace) : undefined;
  const limits = commandLimits(config);
  const sandbox = await Sandbox.find({
    searchPath: environment['PATH'] ?? '',
    folder: path.join(rootPath, 'sandbox'),
    readonlyPaths: executor.readonlyPaths,
    tmpBytesMax: executor.tmpMaxSizeBytes,
    processesMax: executor.users ? undefined : limits.userProcessesMax,
    networkAllowed: executor.network === 'on-request',
    resolvConf: network?.resolvConf,
  });
  // Commands that ask for no network have none; the others have the one of their launcher.
  const launcher = [...(network?.join ?? []), ...launcherCommand()] as [string, ...string[]];
  const options = { ...limits, sandbox, launcherCommand: launcher };
  const [first] = await startEach(options, users.slice(0, 1), closing);
  const proofs = [proofOf('sandbox', sandboxPromises, sandboxHelp)];
  if (network) {
    const promises = withNetwork(sandboxPromises, network.promise);
    proofs.push(proofOf('sandbox', promises, sandboxHelp, true));
  }
  if (first) await prove(first, proofs, config);
  const others = await startEach(options, users.slice(1), closing, 1);
  const onRequest = network?.promise.what ?? "the machine's network on request";
  const name =
    `sandbox: bubblewrap ${sandbox.version}` +
    (executor.network === 'on-request' ? `, ${onRequest}` : '');
  const isolation = described(name, users, sandboxPromises, options);
  log.info('executor', { isolation });
  return { executors: first ? [first, ...others] : [], isolation, proofs, level: 'sandbox' };
}

const sandboxHelp =
  'Allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, or a profile for bwrap where ' +
  'AppArmor restricts them; in a container, an unmasked /proc), or choose executor.type = "host"';

type Limits = Pick<HostExecutorOptions, 'graceMs' | 'resourceLimits' | 'fileBytesMax'> & {
  readonly cgroupOf: (slot: number) => CgroupRequest | undefined;
  readonly limited: string;
  /** Of the user of a command, or in a sandbox of its own. */
  readonly userProcessesMax: number;
};

/** Fails with FAILED_PRECONDITION when a limit that is configured cannot be set here. */
function commandLimits({ executor, rootPath }: WorkerConfig): Limits {
  const { memoryMaxBytes, cpusMax, processesMax, killGraceMs } = executor;
  const parents = findCgroupParents();
  const offered = new Set(parents.flatMap(({ controllers }) => controllers));
  for (const [key, limit, controller] of [
    ['memory_max', memoryMaxBytes, 'memory'],
    ['cpus_max', cpusMax, 'cpu'],
  ] as const) {
    if (limit !== undefined && !offered.has(controller)) {
      throw new SystemError(
        `executor.${key} cannot be kept: this process may not make cgroups with the controller ` +
          `"${controller}". Run the worker as root or as a service with Delegate=yes, or leave the limit out`,
      );
    }
  }
  // The same for a worker in the same folder, which so finds what one before it left.
  const name = `expbuild-${createHash('sha256').update(rootPath).digest('hex').slice(0, 12)}`;
  const limits = { memoryBytesMax: memoryMaxBytes, cpusMax, processesMax };
  // The cgroup's limit is to be met first, where there is one: it tells that it was met, a user's does not.
  const userProcessesMax = processesMax + (offered.has('pids') ? spareProcesses : 0);
  const limited = ['memory', 'pids', 'cpu'].filter((controller) => offered.has(controller));
  return {
    graceMs: killGraceMs,
    resourceLimits: resourceLimitsOf(executor, userProcessesMax),
    userProcessesMax,
    fileBytesMax: fileBytesMax(executor.fileMaxSizeBytes),
    cgroupOf: (slot) =>
      parents.length === 0
        ? undefined
        : { places: placesBelow(parents, `${name}-${slot}`), limits },
    limited: inWords(parents, limited),
  };
}

function inWords(parents: readonly unknown[], limited: readonly string[]): string {
  if (parents.length === 0) return 'no cgroup';
  return limited.length > 0 ? `cgroup with ${limited.join(', ')}` : 'cgroup without limits';
}

/** The same on each worker, whatever starts it (WK-18); in the form of `prlimit`. */
function resourceLimitsOf({ users }: ExecutorConfig, userProcessesMax: number): string[] {
  const { soft, hard } = openFilesMax();
  // It counts all of a user's, which are the command's alone only if the user is.
  const processes = users ? [`--nproc=${userProcessesMax}`] : [];
  return [`--nofile=${soft}:${hard}`, '--core=0', ...processes];
}

async function startEach(
  { cgroupOf, ...options }: Partial<HostExecutorOptions> & Pick<Limits, 'cgroupOf'>,
  users: readonly (Owner | undefined)[],
  closing: AsyncDisposableStack,
  firstSlot = 0,
): Promise<HostExecutor[]> {
  const starting = users.map(async (owner, index) => {
    const cgroup = cgroupOf(firstSlot + index);
    if (cgroup) await endLeft(cgroup, never);
    const defaults = { ...defaultHostExecutorOptions, launcherCommand: launcherCommand() };
    const started = await HostExecutor.start({ ...defaults, ...options, owner, cgroup });
    closing.defer(() => started.close());
    return started;
  });
  await Promise.allSettled(starting);
  return Promise.all(starting);
}

/** One for each slot; undefined is the worker's own. */
async function usersOf(
  { executor: { users }, slots }: WorkerConfig,
  closing: AsyncDisposableStack,
): Promise<(Owner | undefined)[]> {
  if (!users) return Array.from({ length: slots }, () => undefined);
  try {
    const claimed = await claimUsers(users.firstUid, slots, users.isFixed, closing);
    return claimed.map(({ uid, hasAccount }) => ({
      uid,
      gid: users.gid ?? uid,
      isPrivate: !hasAccount,
    }));
  } catch (thrown) {
    throw new SystemError(StatusError.from(thrown).message, { cause: thrown });
  }
}

function described(
  name: string,
  users: readonly (Owner | undefined)[],
  promises: readonly Promised[],
  { limited }: Pick<Limits, 'limited'>,
): string {
  const kept = promises.map(({ what }) => what).join(', ');
  return `${name}, as ${usersInWords(users)}; ${kept}; ${limited}`;
}

function usersInWords(users: readonly (Owner | undefined)[]): string {
  const [first, last] = [users[0]?.uid, users.at(-1)?.uid];
  if (first === undefined) return "the worker's own user";
  return first === last ? `user ${first}` : `users ${first} to ${last}`;
}

function refuseWithout(utility: string): void {
  try {
    findExecutable(utility, defaultPath, '/');
  } catch (thrown) {
    const message = `${utility} is missing, which commands are started with: install util-linux`;
    throw new SystemError(message, { cause: thrown });
  }
}

/** Commands of another user reach their files by paths through each of the folders above. */
function refuseUnreachable(folder: string, uid: number): void {
  for (let above = path.dirname(folder); ; above = path.dirname(above)) {
    const stats = statSync(above);
    const othersMayPass = (stats.mode & 0o001) !== 0;
    if (!othersMayPass && stats.uid !== uid) {
      throw new SystemError(
        `commands run as user ${uid}, who cannot get to ${folder}: ${above} is closed to others. ` +
          'Choose another folder for the data, such as one in /var/lib, or open this one ' +
          `(chmod o+x ${above})`,
      );
    }
    if (above === path.dirname(above)) return;
  }
}
