import { readFileSync } from 'node:fs';

/** Enough for any linker; more makes programs slow that close all they could have open. */
const filesMax = 65_536;
/** As programs need it that use select(). */
const softFilesMax = 1_024;

/** How many files a command may have open: a soft limit, and the hard one, as far as this machine lets it. */
export function openFilesMax(): { readonly soft: number; readonly hard: number } {
  const [, own = ''] =
    /^Max open files +\d+ +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
  const hard = Math.min(Number(own) || filesMax, filesMax);
  return { soft: Math.min(softFilesMax, hard), hard };
}
