import { readdirSync } from 'node:fs';
import path from 'node:path';
import { Code, StatusError } from '../base/status.ts';
import { killStrays } from './processes.ts';
import { killWaitMs, repeatedly } from './repeatedly.ts';

/**
 * Ends the commands whose folders are in `folder`, which need not exist: a worker and its launchers may be
 * killed at once, and then nobody ended them (WK-05). Of those that no cgroup counted it finds what tells
 * of its folder. Fails with FAILED_PRECONDITION when one does not end.
 */
export async function endStrays(folder: string): Promise<void> {
  const left = namesIn(folder).map((name) => path.join(folder, name));
  if (left.length === 0 || (await repeatedly(() => !killStrays(left)))) return;
  throw new StatusError(
    Code.FAILED_PRECONDITION,
    `processes of commands in ${folder}, which an earlier worker left, did not end within ` +
      `${killWaitMs} ms of SIGKILL`,
  );
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return [];
  }
}
