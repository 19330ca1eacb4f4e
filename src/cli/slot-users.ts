import { statSync } from 'node:fs';
import path from 'node:path';
import { StatusError } from '../base/status.ts';
import type { WorkerConfig } from '../config/worker-config.ts';
import { claimUsers } from '../executor/claim-users.ts';
import type { Owner } from '../executor/executor.ts';
import { SystemError } from './exit-codes.ts';

/** Whom the commands of each slot run as; undefined is the worker's own. */
export async function usersOf(
  { executor: { users }, slots }: WorkerConfig,
  closing: AsyncDisposableStack,
): Promise<(Owner | undefined)[]> {
  if (!users) return Array.from({ length: slots }, () => undefined);
  try {
    const claimed = await claimUsers(users.firstUid, slots, users.isFixed, closing);
    return claimed.map(({ uid, hasAccount }) => ({
      uid,
      gid: users.gid ?? uid,
      isPrivate: !hasAccount,
    }));
  } catch (thrown) {
    throw new SystemError(StatusError.from(thrown).message, { cause: thrown });
  }
}

export function usersInWords(users: readonly (Owner | undefined)[]): string {
  const [first, last] = [users[0]?.uid, users.at(-1)?.uid];
  if (first === undefined) return "the worker's own user";
  return first === last ? `user ${first}` : `users ${first} to ${last}`;
}

/** Commands of another user reach their files by paths through each of the folders above. */
export function refuseUnreachable(folder: string, uid: number): void {
  for (let above = path.dirname(folder); ; above = path.dirname(above)) {
    const stats = statSync(above);
    const othersMayPass = (stats.mode & 0o001) !== 0;
    if (!othersMayPass && stats.uid !== uid) {
      throw new SystemError(
        `commands run as user ${uid}, who cannot get to ${folder}: ${above} is closed to others. ` +
          'Choose another folder for the data, such as one in /var/lib, or open this one ' +
          `(chmod o+x ${above})`,
      );
    }
    if (above === path.dirname(above)) return;
  }
}
