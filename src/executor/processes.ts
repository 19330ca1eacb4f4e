import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import path from 'node:path';

/** /proc counts CPU time in hundredths of a second on every Linux. */
const msPerTick = 10;

/** The CPU time of this process's children that have ended, and of theirs that they waited for. */
export function childrenCpuTime(): { readonly userTimeMs: number; readonly systemTimeMs: number } {
  const fields = statOf('self') ?? [];
  return {
    userTimeMs: Number(fields[13]) * msPerTick,
    systemTimeMs: Number(fields[14]) * msPerTick,
  };
}

/** The largest peak resident set among a process and its descendants; undefined when all are gone. */
export function peakResidentBytes(root: number): number | undefined {
  let peak: number | undefined;
  for (const id of [root, ...descendantsOf(root)]) {
    const status = readProc(`${id}/status`);
    const kilobytes = /^VmHWM:\s+(\d+) kB/m.exec(status)?.[1];
    if (kilobytes !== undefined) peak = Math.max(peak ?? 0, Number(kilobytes) * 1024);
  }
  return peak;
}

/** So many are looked at: with those of a fork bomb it would look at nothing else. */
const descendantsMax = 500;

function descendantsOf(root: number): number[] {
  const found = childrenOf(root);
  for (const id of found) {
    if (found.length >= descendantsMax) break;
    found.push(...childrenOf(id));
  }
  return found.slice(0, descendantsMax);
}

function childrenOf(id: number): number[] {
  const threads = namesIn(`${id}/task`);
  const lists = threads.map((thread) => readProc(`${id}/task/${thread}/children`));
  return lists.flatMap((list) => list.split(' ').filter(Boolean).map(Number));
}

/** By what the processes of a command are known. */
export interface CommandMarks {
  /** The number of its first process, and of the session that it was started in. */
  readonly session: number;
  /**
   * When that process started, as the kernel counts: one that has its number and started at another time is
   * none of the command's (WK-30). Undefined when nobody looked while it was there.
   */
  readonly startTicks: string | undefined;
  /** Its own folder, which its environment and its output files tell of. */
  readonly folder: string;
  /** Its first process is that of a sandbox, and it and all the others are in that. */
  readonly sandboxed: boolean;
}

/**
 * Signals every process of a command; false when none is left that can still do something. Not only
 * the first group: `timeout` and shells with job control make groups of their own. Not only the session
 * either: what `setsid` took out of it still has the command's environment, or writes to its output.
 * `ageMs` is how long ago the command began, if that is known.
 */
export function signalCommand(
  marks: CommandMarks,
  signal: NodeJS.Signals,
  ageMs = Number.POSITIVE_INFINITY,
): boolean {
  if (marks.sandboxed) return signalSandbox(marks, signal);
  const { session, folder } = marks;
  const holder = holderOf(marks);
  const groups = new Set<number>();
  const signalGroup = (group: number) => {
    if (!groups.has(group)) signalAny(-group, signal);
    groups.add(group);
  };
  // At once, before it is looked at what else there is; unless nothing may be left that holds its number.
  if (holder === 'command') signalGroup(session);
  let isAnyLeft = false;
  for (const id of startedAfter(session, ageMs)) {
    const [state, , group, itsSession] = statOf(`${id}`) ?? [];
    // In a container whose first process reaps nothing, zombies stay for ever.
    if (state === undefined || state === 'Z' || state === 'X') continue;
    // While the session has a member, its number and those of its groups are not given again.
    if (itsSession === String(session) && holder !== 'stranger') signalGroup(Number(group));
    else if (namesFolder(id, folder)) signalAny(id, signal);
    else continue;
    isAnyLeft = true;
  }
  return isAnyLeft;
}

/** When a process started, as the kernel counts; undefined when it has ended and was waited for. */
export function startTicksOf(id: number): string | undefined {
  return statOf(`${id}`)?.[19];
}

/** Who has the number of a command's first process: it keeps it until its parent has waited for it. */
function holderOf({ session, startTicks }: CommandMarks): 'command' | 'stranger' | 'nobody' {
  const found = startTicksOf(session);
  if (found === undefined) return 'nobody';
  return startTicks === undefined || startTicks === found ? 'command' : 'stranger';
}

/**
 * The first child of a sandbox is the first process of its namespace: all others end when it does, and
 * only then does the sandbox. It takes no signal but SIGKILL.
 */
function signalSandbox(marks: CommandMarks, signal: NodeJS.Signals): boolean {
  const { session: sandbox, folder } = marks;
  if (holderOf(marks) !== 'command') return killSandboxed(folder);
  const inits = childrenOf(sandbox);
  const commands = inits.flatMap(descendantsOf);
  if (signal !== 'SIGKILL' && commands.length > 0) {
    for (const id of commands) signalAny(id, signal);
  } else if (inits.length > 0) {
    for (const id of inits) signalAny(id, 'SIGKILL');
  } else {
    signalAny(sandbox, 'SIGKILL');
  }
  return true;
}

/**
 * Ends what is left of a sandbox whose own process was killed; false when nothing is. It is known by
 * its mounts.
 */
export function killSandboxed(folder: string): boolean {
  return killEach((id) => isSandboxedIn(id, folder));
}

/**
 * Ends what is left of the commands of folders, when those who started them are gone and nothing else is
 * known of them; false when nothing is.
 */
export function killStrays(folders: readonly string[]): boolean {
  const spared = ancestors();
  return killEach(
    (id) =>
      !spared.has(id) && folders.some((one) => namesFolder(id, one) || isSandboxedIn(id, one)),
  );
}

function killEach(isOne: (id: number) => boolean): boolean {
  let isAnyLeft = false;
  for (const id of allProcesses().map(Number)) {
    const state = statOf(`${id}`)?.[0];
    if (state === 'Z' || state === 'X' || !isOne(id)) continue;
    // At once: later its number may be another's.
    signalAny(id, 'SIGKILL');
    isAnyLeft = true;
  }
  return isAnyLeft;
}

function isSandboxedIn(id: number, folder: string): boolean {
  // As `mountinfo` has it: below the root of its file system, wherever that is mounted.
  const mount = `/${path.basename(folder).replaceAll(' ', String.raw`\040`)}/root /build `;
  return readProc(`${id}/mountinfo`).includes(mount);
}

/** This process, and those that it was started by. */
function ancestors(): Set<number> {
  const found = new Set<number>();
  for (let id = process.pid; id > 0 && !found.has(id); id = Number(statOf(`${id}`)?.[1] ?? 0)) {
    found.add(id);
  }
  return found;
}

/** Its environment when it was started, or its output, is of the folder. */
function namesFolder(id: number, folder: string): boolean {
  if (readProc(`${id}/environ`).includes(`${folder}/`)) return true;
  return [1, 2].some((output) => readProcLink(`${id}/fd/${output}`).startsWith(`${folder}/`));
}

/**
 * Processes that were started after one, and it. Numbers are given in order, so that there are few to
 * look at after a short command; a machine may have thousands. After a long one they may have begun anew.
 */
function startedAfter(first: number, ageMs: number): number[] {
  const last = Number(readProc('loadavg').split(' ').at(-1));
  const lookedUpMax = 200;
  if (ageMs < 1_000 && last >= first && last - first < lookedUpMax) {
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  }
  return allProcesses().map(Number);
}

function signalAny(id: number, signal: NodeJS.Signals): void {
  try {
    process.kill(id, signal);
  } catch {
    // None is left, or they took another user's rights: whoever asks again sees what is left.
  }
}

/** Whether a user has a process that can still do something, whatever that one has made itself since. */
export function isAnyOfUser(uid: number): boolean {
  return allProcesses().some((id) => isOfAny(id, [uid]));
}

function isOfAny(id: string, uids: readonly number[]): boolean {
  const status = readProc(`${id}/status`);
  const ids = /^Uid:\t(.*)$/m.exec(status)?.[1]?.split('\t') ?? [];
  return uids.some((uid) => ids.includes(String(uid))) && !/^State:\t[ZX]/m.test(status);
}

/** For how long that process of users runs that runs longest; undefined when there is none. */
export function longestRunMs(uids: readonly number[]): number | undefined {
  const upMs = Number(readProc('uptime').split(' ')[0]) * 1_000;
  const running = uids.length === 0 ? [] : allProcesses().filter((id) => isOfAny(id, uids));
  if (running.length === 0) return undefined;
  const starts = running.map((id) => Number(startTicksOf(Number(id)) ?? 0) * msPerTick);
  return starts.reduce((longest, startMs) => Math.max(longest, upMs - startMs), 0);
}

/** The sessions of the processes whose standard output is `file`. */
export function sessionsWritingTo(file: string): number[] {
  const writing = allProcesses().filter((id) => readProcLink(`${id}/fd/1`) === file);
  const sessions = writing.map((id) => Number(statOf(id)?.[3]));
  // 0 and 1 would name others than it says.
  return [...new Set(sessions)].filter((session) => session > 1);
}

function allProcesses(): string[] {
  return namesIn('').filter((name) => /^\d+$/.test(name));
}

function namesIn(name: string): string[] {
  try {
    return readdirSync(`/proc/${name}`);
  } catch {
    return [];
  }
}

/** The fields of /proc/<id>/stat from the state on; the name before it may hold anything. */
function statOf(id: string): readonly string[] | undefined {
  const stat = readProc(`${id}/stat`);
  return stat === '' ? undefined : stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

/** Processes come and go: what is gone reads as nothing. */
function readProc(name: string): string {
  try {
    return readFileSync(`/proc/${name}`, 'utf8');
  } catch {
    return '';
  }
}

function readProcLink(name: string): string {
  try {
    return readlinkSync(`/proc/${name}`);
  } catch {
    return '';
  }
}
