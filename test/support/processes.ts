import { readdirSync, readFileSync } from 'node:fs';

/** Processes of this machine with an argument that only the test's have. */
export function processesNaming(mark: string): string[] {
  return readdirSync('/proc').filter((id) => {
    if (!/^\d+$/.test(id)) return false;
    try {
      return readFileSync(`/proc/${id}/cmdline`, 'utf8').split('\0').includes(mark);
    } catch {
      return false;
    }
  });
}
