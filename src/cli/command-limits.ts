import { createHash } from 'node:crypto';
import type { ExecutorConfig } from '../config/executor-config.ts';
import type { WorkerConfig } from '../config/worker-config.ts';
import type { CgroupRequest } from '../executor/command-cgroup.ts';
import { findCgroupParents, placesBelow } from '../executor/find-cgroups.ts';
import type { HostExecutorOptions } from '../executor/host-executor.ts';
import { fileBytesMax, openFilesMax } from '../executor/own-limits.ts';
import { SystemError } from './exit-codes.ts';

/** More than a sandbox takes for itself, and zombies that nobody has waited for. */
const spareProcesses = 64;

/** What limits commands, as far as this machine can. */
export type CommandLimits = Pick<
  HostExecutorOptions,
  'graceMs' | 'resourceLimits' | 'fileBytesMax'
> & {
  readonly cgroupOf: (slot: number) => CgroupRequest | undefined;
  /** Where those cgroups are made. */
  readonly cgroupFolders: readonly string[];
  readonly limited: string;
  /** Of the user of a command, or in a sandbox of its own. */
  readonly userProcessesMax: number;
};

/** Fails with FAILED_PRECONDITION when a limit that is configured cannot be set here. */
export function commandLimits({ executor, rootPath }: WorkerConfig): CommandLimits {
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
    cgroupFolders: parents.map(({ folder }) => folder),
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
