import { readFileSync, readdirSync, readlinkSync } from 'node:fs';

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
  const processes = [root];
  for (const id of processes) {
    const status = readProc(`${id}/status`);
    const kilobytes = /^VmHWM:\s+(\d+) kB/m.exec(status)?.[1];
    if (kilobytes !== undefined) peak = Math.max(peak ?? 0, Number(kilobytes) * 1024);
    const children = readProc(`${id}/task/${id}/children`).split(' ').filter(Boolean);
    processes.push(...children.map(Number));
  }
  return peak;
}

/** Signals every process of a group; false when the group has none. */
export function signalGroup(group: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(-group, signal);
    return true;
  } catch (error) {
    // EPERM: it took another user's rights. It is there, and this process cannot end it.
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/**
 * True while a process of the group can still do something. A zombie cannot; in a container whose
 * first process reaps nothing, it stays for ever.
 */
export function groupIsAlive(group: number): boolean {
  return allProcesses().some((id) => {
    const fields = statOf(id);
    return fields?.[2] === String(group) && !['Z', 'X'].includes(fields[0] ?? '');
  });
}

/** The groups of the processes whose standard output is `file`. */
export function groupsWritingTo(file: string): number[] {
  const writing = allProcesses().filter((id) => readProcLink(`${id}/fd/1`) === file);
  const groups = writing.map((id) => Number(statOf(id)?.[2]));
  // 0 and 1 would name others than it says.
  return [...new Set(groups)].filter((group) => group > 1);
}

function allProcesses(): string[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name));
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
