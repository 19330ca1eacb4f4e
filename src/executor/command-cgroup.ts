import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { systemClock } from '../base/clock.ts';
import { Code, StatusError } from '../base/status.ts';
import {
  type CgroupFolder,
  killIn,
  memoryMessage,
  memoryPeakIn,
  oomKillsIn,
  processesMessage,
  refusedForksIn,
} from './cgroup-files.ts';

/** What the processes of one command may use together. */
export interface CommandLimits {
  readonly memoryBytesMax: number | undefined;
  readonly processesMax: number;
  /** Processors' worth of time, in parts of one too. */
  readonly cpusMax: number | undefined;
}

/** The cgroup of a command in one hierarchy; it is made and removed for each. */
export interface CgroupPlace extends CgroupFolder {
  /** The cgroup of who starts it. */
  readonly home: string;
}

/** Of two limits the lower one holds. */
export function leastOf(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.min(a, b);
}

/** Where a command is counted, and what it may use. */
export interface CgroupRequest {
  readonly places: readonly CgroupPlace[];
  readonly limits: CommandLimits;
}

const cpuPeriodUs = 100_000;
/** Five seconds: the kernel ends what got SIGKILL at once, unless it waits for a broken disk. */
const endTriesMax = 500;
const endTryMs = 10;

/** The cgroup of one command: all its processes, whatever they did to hide. */
export class CommandCgroup {
  readonly #request: CgroupRequest;

  constructor(request: CgroupRequest) {
    this.#request = request;
  }

  /** Ends and removes what a launcher that was killed left of an earlier one. */
  static make(request: CgroupRequest): CommandCgroup {
    const made = new CommandCgroup(request);
    for (const place of request.places) {
      killIn(place);
      removeFolder(place.folder);
      mkdirSync(place.folder, { recursive: true });
      for (const [name, value] of settingsOf(place, request.limits)) writeIn(place, name, value);
    }
    return made;
  }

  /** Processes that `start` starts belong to it from their first instruction, and this one does not. */
  around<T>(start: () => T): T {
    const self = String(process.pid);
    try {
      for (const { folder } of this.#request.places) enter(folder, self);
      return start();
    } finally {
      for (const { home } of this.#request.places) enter(home, self);
    }
  }

  /** Kills its processes, which start no more; false when there is none. */
  kill(): boolean {
    for (const place of this.#request.places) forbidForks(place);
    return this.#request.places.map(killIn).includes(true);
  }

  /** False while the kernel is not done with it. */
  remove(): boolean {
    return this.#request.places.map(({ folder }) => removeFolder(folder)).every(Boolean);
  }

  /** Which limit the command met, in words; undefined for none. To be asked before `kill`. */
  exceeded(): ExceededLimit | undefined {
    const { places, limits } = this.#request;
    if (oomKillsIn(places) > 0) {
      const { memoryBytesMax } = limits;
      const message = memoryMessage(memoryBytesMax, memoryPeakIn(places));
      return { kind: 'memory', message, memoryBytesMax };
    }
    if (refusedForksIn(places) === 0) return undefined;
    return { kind: 'processes', message: processesMessage(limits.processesMax) };
  }
}

/** Which limit a command met, in words; of memory also how much it was. */
export interface ExceededLimit {
  readonly kind: 'memory' | 'processes';
  readonly message: string;
  readonly memoryBytesMax?: number | undefined;
}

/** Ends and removes what is left of a command whose launcher is gone. */
export async function endLeft(request: CgroupRequest, signal: AbortSignal): Promise<void> {
  const left = new CommandCgroup(request);
  for (let tries = 0; tries < endTriesMax; tries++) {
    if (!left.kill() && left.remove()) return;
    await systemClock.sleep(endTryMs, signal);
  }
  const [place] = request.places;
  throw new StatusError(Code.INTERNAL, `the processes in cgroup ${place?.folder} do not end`);
}

function settingsOf(
  { version, controllers }: CgroupPlace,
  { memoryBytesMax, processesMax, cpusMax }: CommandLimits,
): [string, string][] {
  const settings: [string, string][] = [];
  const cpuUs = cpusMax === undefined ? undefined : Math.round(cpusMax * cpuPeriodUs);
  if (controllers.includes('pids')) settings.push(['pids.max', String(processesMax)]);
  if (controllers.includes('memory') && memoryBytesMax !== undefined) {
    const bytes = String(memoryBytesMax);
    // Without swap: what is beyond the limit is killed, and does not make the machine slow.
    if (version === 1) {
      settings.push(['memory.limit_in_bytes', bytes], ['memory.memsw.limit_in_bytes', bytes]);
    } else {
      settings.push(['memory.max', bytes], ['memory.swap.max', '0'], ['memory.oom.group', '1']);
    }
  }
  if (controllers.includes('cpu') && cpuUs !== undefined) {
    if (version === 2) settings.push(['cpu.max', `${cpuUs} ${cpuPeriodUs}`]);
    else settings.push(['cpu.cfs_period_us', `${cpuPeriodUs}`], ['cpu.cfs_quota_us', `${cpuUs}`]);
  }
  return settings;
}

/** Kernels may be built without counting swap; the rest they have all. */
const optional = ['memory.memsw.limit_in_bytes', 'memory.swap.max', 'memory.oom.group'];

function writeIn({ folder }: CgroupPlace, name: string, value: string): void {
  try {
    writeFileSync(path.join(folder, name), value);
  } catch (error) {
    if (!optional.includes(name)) throw error;
  }
}

function enter(folder: string, process: string): void {
  writeFileSync(path.join(folder, 'cgroup.procs'), process);
}

/** Version 1 kills one after the other: who forks faster than that would never end. */
function forbidForks(place: CgroupPlace): void {
  if (place.version === 2 || !place.controllers.includes('pids')) return;
  try {
    writeFileSync(path.join(place.folder, 'pids.max'), '0', { flag: 'r+' });
  } catch {
    // It is gone, and so is what was in it.
  }
}

function removeFolder(folder: string): boolean {
  try {
    rmdirSync(folder);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT';
  }
}
