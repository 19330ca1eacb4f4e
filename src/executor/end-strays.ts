import { Code, StatusError } from '../base/status.ts';
import { killStrays } from './processes.ts';
import { killWaitMs, repeatedly } from './repeatedly.ts';

/**
 * Ends the commands of folders when nobody else did: a worker and its launchers may be killed at once
 * (WK-05). Of those that no cgroup counted it finds what tells of its folder. Fails with INTERNAL when one
 * does not end.
 */
export async function endStrays(folders: readonly string[]): Promise<void> {
  if (folders.length === 0 || (await repeatedly(() => !killStrays(folders)))) return;
  throw new StatusError(
    Code.INTERNAL,
    `processes of commands in ${folders.join(', ')} did not end within ${killWaitMs} ms of SIGKILL`,
  );
}
