import { type FSWatcher, watch } from 'node:fs';
import path from 'node:path';
import {
  type CgroupFolder,
  countIn,
  folderOf,
  killIn,
  memoryPeakIn,
  oomKillsIn,
  readIn,
  refusedForksIn,
} from './cgroup-files.ts';
import { findCgroupsOf } from './find-cgroups.ts';
import { passed } from './repeatedly.ts';

/** What all processes of a container have used together; what nobody counts is undefined. */
export interface ContainerUse {
  readonly userTimeMs: number | undefined;
  readonly systemTimeMs: number | undefined;
  /** With the pages of files that they read, and what is in its folders in memory. */
  readonly memoryPeakBytes: number | undefined;
  /** Processes that were ended for want of memory. */
  readonly oomKills: number;
  readonly refusedForks: number;
}

/** The shortest commands end about then. */
const firstSampleMs = 5;
/** A look takes 0.1 ms. Where the kernel does not tell the end, so much of a command may be missed. */
const sampleMsMax = 100;
/** A second: the kernel ends what got SIGKILL at once, unless it waits for a disk. */
const killTriesMax = 100;
const killTryMs = 10;
const never = new AbortController().signal;
const nothing: ContainerUse = {
  userTimeMs: undefined,
  systemTimeMs: undefined,
  memoryPeakBytes: undefined,
  oomKills: 0,
  refusedForks: 0,
};

/**
 * Counts what containers use, by the cgroups that the daemon makes for them. Where it makes none, or none
 * that can be seen here, nothing is counted.
 */
export class ContainerCgroups {
  /** Of the last container that was asked for: those of others differ by their id alone. */
  #known: { readonly id: string; readonly folders: readonly CgroupFolder[] } | undefined;

  /** Those of a container that has been started; `findProcess` finds its first process. */
  async find(
    id: string,
    findProcess: () => Promise<number | undefined>,
  ): Promise<readonly CgroupFolder[]> {
    const guessed = this.#guess(id);
    if (usedIn(guessed).userTimeMs !== undefined) return guessed;
    const processId = await findProcess();
    if (processId === undefined) return [];
    // What is not the container's own counts others too: those of gVisor may have none.
    const folders = findCgroupsOf(processId).filter(({ folder }) => folder.includes(id));
    if (folders.length > 0) this.#known = { id, folders };
    return folders;
  }

  /** Ends what runs in a container without the daemon, where this process may, and waits for its end for a while. */
  async kill(id: string): Promise<void> {
    for (let tries = 0; tries < killTriesMax; tries++) {
      if (!this.#guess(id).map(killIn).includes(true)) return;
      await passed(killTryMs, never);
    }
  }

  #guess(id: string): readonly CgroupFolder[] {
    const { id: knownId, folders = [] } = this.#known ?? {};
    if (knownId === undefined) return [];
    return folders.map(({ folder, ...rest }) => ({
      ...rest,
      folder: folder.replaceAll(knownId, id),
    }));
  }
}

/**
 * What one container uses. The daemon removes its cgroup some ten milliseconds after its last process has
 * ended, and tells nobody before: so what was seen last counts.
 */
export class ContainerMeter {
  #folders: readonly CgroupFolder[] = [];
  #use = nothing;

  /** Looks time and again until `signal` aborts, and, where the kernel tells it, once all have ended. */
  async watch(folders: readonly CgroupFolder[], signal: AbortSignal): Promise<void> {
    this.#folders = folders;
    const watchers = folders.flatMap((folder) => watchEnd(folder, () => this.look()));
    for (let ms = firstSampleMs; folders.length > 0; ms = Math.min(2 * ms, sampleMsMax)) {
      this.look();
      if (!(await passed(ms, signal))) break;
    }
    for (const watcher of watchers) watcher.close();
  }

  look(): void {
    const seen = usedIn(this.#folders);
    this.#use = {
      userTimeMs: seen.userTimeMs ?? this.#use.userTimeMs,
      systemTimeMs: seen.systemTimeMs ?? this.#use.systemTimeMs,
      memoryPeakBytes: seen.memoryPeakBytes ?? this.#use.memoryPeakBytes,
      oomKills: Math.max(seen.oomKills, this.#use.oomKills),
      refusedForks: Math.max(seen.refusedForks, this.#use.refusedForks),
    };
  }

  get use(): ContainerUse {
    return this.#use;
  }
}

/** What is counted in the cgroups of a container. */
export function usedIn(folders: readonly CgroupFolder[]): ContainerUse {
  return {
    ...cpuTimeIn(folders),
    memoryPeakBytes: memoryPeakIn(folders),
    oomKills: oomKillsIn(folders),
    refusedForks: refusedForksIn(folders),
  };
}

function cpuTimeIn(folders: readonly CgroupFolder[]) {
  const two = folders.find(({ version }) => version === 2);
  const accounts = folderOf(folders, 'cpuacct');
  // Version 2 counts it without any controller.
  const msOf = (one: string, key: string) => {
    if (accounts) return scaled(Number(readIn(accounts, one) ?? Number.NaN), 1e6);
    return two && scaled(countIn(two, 'cpu.stat', key), 1e3);
  };
  return {
    userTimeMs: msOf('cpuacct.usage_user', 'user_usec'),
    systemTimeMs: msOf('cpuacct.usage_sys', 'system_usec'),
  };
}

/** Calls when a cgroup of version 2 has no processes any more; version 1 does not tell. */
function watchEnd({ version, folder }: CgroupFolder, onEnd: () => void): FSWatcher[] {
  if (version === 1) return [];
  try {
    return [watch(path.join(folder, 'cgroup.events'), onEnd).on('error', () => {})];
  } catch {
    return [];
  }
}

function scaled(count: number | undefined, perMs: number): number | undefined {
  return count === undefined || Number.isNaN(count) ? undefined : Math.round(count / perMs);
}
