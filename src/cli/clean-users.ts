import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Code, StatusError } from '../base/status.ts';
import { claimUsers } from '../executor/claim-users.ts';
import type { Owner } from '../executor/executor.ts';
import { removeAllOf } from '../executor/user-belongings.ts';

/**
 * Removes what commands of earlier workers in the same folder left: that of the users of this worker, and of the
 * users that those had. Users are the first that are free, so that they may be others after each start. Those
 * that another worker has by now had all removed when it started.
 */
export async function cleanUsers(
  rootPath: string,
  users: readonly (Owner | undefined)[],
): Promise<void> {
  const file = path.join(rootPath, 'command_users');
  const owners = users.flatMap((user) => (user?.isPrivate === true ? [user] : []));
  const own = new Set(owners.map(({ uid }) => uid));
  for (const uid of usersIn(file)) {
    if (!own.has(uid)) await cleanFormer(uid);
  }
  for (const owner of owners) await removeAllOf(owner);
  writeFileSync(file, [...own].map((uid) => `${uid}\n`).join(''));
}

function usersIn(file: string): number[] {
  try {
    return readFileSync(file, 'utf8').split('\n').filter(Boolean).map(Number);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown;
    return [];
  }
}

async function cleanFormer(uid: number): Promise<void> {
  if (!Number.isSafeInteger(uid) || uid <= 0) return;
  await using claim = new AsyncDisposableStack();
  try {
    const [user] = await claimUsers(uid, 1, true, claim);
    if (user?.hasAccount === false) await removeAllOf({ uid, gid: uid, isPrivate: true });
  } catch (thrown) {
    if (StatusError.from(thrown).code !== Code.FAILED_PRECONDITION) throw thrown;
  }
}
