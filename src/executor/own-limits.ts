import { readFileSync } from 'node:fs';
import { constants } from 'node:os';

/** Enough for any linker; more makes programs slow that close all they could have open. */
const filesMax = 65_536;
/** As programs need it that use select(). */
const softFilesMax = 1_024;
/** The machine has no more numbers for processes. */
const processIdsFile = '/proc/sys/kernel/pid_max';

/** How many files a command may have open: a soft limit, and the hard one, as far as this machine lets it. */
export function openFilesMax(): { readonly soft: number; readonly hard: number } {
  const hard = Math.min(hardLimit('Max open files'), filesMax);
  return { soft: Math.min(softFilesMax, hard), hard };
}

/** How many processes a user may have, with those outside of a container: as many as this machine lets it. */
export function userProcessesMax(): number {
  return Math.min(hardLimit('Max processes'), Number(readFileSync(processIdsFile, 'utf8')));
}

/** How large a command's files may get: as large as is wanted, as far as this machine lets it. */
export function fileBytesMax(wanted: number): number {
  return Math.min(hardLimit('Max file size'), wanted);
}

/** How a command ends, or as a shell says it the last program that it ran, at the limit of a file. */
export const fileTooLargeExitCode = 128 + constants.signals.SIGXFSZ;

/** What ends a sentence about it. */
export function fileTooLargeMessage(bytesMax: number): string {
  return `it wrote a file larger than its limit of ${bytesMax} bytes (executor.file_max_size)`;
}

/** Of this process, which only root may raise. */
function hardLimit(name: string): number {
  const limits = readFileSync('/proc/self/limits', 'utf8').split('\n');
  const line = limits.find((one) => one.startsWith(`${name} `))?.slice(name.length) ?? '';
  const [, hard = ''] = line.trim().split(/\s+/);
  return Number(hard) || Number.POSITIVE_INFINITY;
}
