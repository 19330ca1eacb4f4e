import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** A cgroup in one hierarchy; version 1 has one for each controller, version 2 one for all. */
export interface CgroupFolder {
  readonly version: 1 | 2;
  readonly controllers: readonly string[];
  readonly folder: string;
}

/** The one that a controller counts in. */
export function folderOf<T extends CgroupFolder>(
  folders: readonly T[],
  controller: string,
): T | undefined {
  return folders.find(({ controllers }) => controllers.includes(controller));
}

/** The most memory that the processes of a cgroup had together; undefined where nobody counts it. */
export function memoryPeakIn(folders: readonly CgroupFolder[]): number | undefined {
  const memory = folderOf(folders, 'memory');
  // Version 2 has it since Linux 5.19.
  const file = memory?.version === 1 ? 'memory.max_usage_in_bytes' : 'memory.peak';
  return Number(memory && readIn(memory, file)) || undefined;
}

/** How many processes of a cgroup were ended because there was no memory left for it. */
export function oomKillsIn(folders: readonly CgroupFolder[]): number {
  const memory = folderOf(folders, 'memory');
  if (memory === undefined) return 0;
  const file = memory.version === 1 ? 'memory.oom_control' : 'memory.events';
  return countIn(memory, file, 'oom_kill') ?? 0;
}

/** How often a cgroup was refused another process or thread. */
export function refusedForksIn(folders: readonly CgroupFolder[]): number {
  const pids = folderOf(folders, 'pids');
  return pids === undefined ? 0 : (countIn(pids, 'pids.events', 'max') ?? 0);
}

/** What ends a sentence about a command that had too much memory. */
export function memoryMessage(limitBytes: number | undefined, peakBytes: number | undefined) {
  const limit = limitBytes === undefined ? "the machine's" : mebibytes(limitBytes);
  const peak = peakBytes === undefined ? '' : ` (peak ${mebibytes(peakBytes)})`;
  return `it used more memory than its limit of ${limit}${peak}`;
}

/** What ends a sentence about a command that had too many processes. */
export function processesMessage(processesMax: number): string {
  return `it met its limit of ${processesMax} processes and threads`;
}

/** The number behind a key, in a file of lines of both; undefined when there is none. */
export function countIn(place: CgroupFolder, file: string, key: string): number | undefined {
  const lines = readIn(place, file)?.split('\n');
  const line = lines?.find((some) => some.startsWith(`${key} `));
  return line === undefined ? undefined : Number(line.split(' ')[1]);
}

/** Undefined when it cannot be read: the cgroup is gone, or the kernel does not have it. */
export function readIn({ folder }: CgroupFolder, file: string): string | undefined {
  try {
    return readFileSync(path.join(folder, file), 'utf8');
  } catch {
    return undefined;
  }
}

/** Kills the processes of a cgroup; false when there is none. */
export function killIn(place: CgroupFolder): boolean {
  // Those that this process cannot see are 0, which is its own group when it is sent a signal.
  const ids = (readIn(place, 'cgroup.procs') ?? '').split('\n').filter((id) => Number(id) > 0);
  if (ids.length === 0) return false;
  try {
    // At once, so that nothing can fork faster than it is killed. Only version 2 has it.
    writeFileSync(path.join(place.folder, 'cgroup.kill'), '1', { flag: 'r+' });
    return true;
  } catch {
    for (const id of ids) signalOne(Number(id));
    return true;
  }
}

function signalOne(id: number): void {
  try {
    process.kill(id, 'SIGKILL');
  } catch {
    // It ended by itself.
  }
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}
