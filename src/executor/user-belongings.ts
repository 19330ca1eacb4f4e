import { execFile, spawnSync } from 'node:child_process';
import { lstatSync, readFileSync, rmSync } from 'node:fs';
import type { Owner } from './executor.ts';
import { claimedUsers } from './claim-users.ts';
import { defaultPath } from './find-executable.ts';
import { clockLagMs, findLeft, type MovedInput } from './left-files.ts';
import { killWaitMs, repeatedly } from './repeatedly.ts';
import { isAnyOfUser, longestRunMs } from './processes.ts';
import { sharedFolders } from './shared-folders.ts';
import { Code, StatusError } from '../base/status.ts';

/** For some million files. */
const removeMsMax = 120_000;

const ipcTables = [
  ['shm', 'shmid', '-m'],
  ['sem', 'semid', '-s'],
  ['msg', 'msqid', '-q'],
] as const;

/**
 * Folders may have been closed by who made them, and links lead to others. All of it is done as the user itself:
 * others may be able to write in its folders, and could make root follow a link.
 */
const removeScript =
  'exec 2>/dev/null; for at; do if [ -d "$at" ] && [ ! -L "$at" ]; then chmod -R u+rwX "$at"; fi; done; rm -rf "$@"';

const xargs = ['-0', '-r', '/bin/sh', '-c', removeScript, 'sh'];

/** When shared folders were last found to hold nothing of a user: what comes there later changes their time. */
const cleanFromMs = new Map<number, number>();

/** Kills all processes of a user that is not this process's; false when there is none. */
export function killOfUser({ uid, gid }: Owner): boolean {
  if (uid === 0 || uid === process.getuid?.()) return false;
  if (!isAnyOfUser(uid)) return false;
  // The kernel sends it to all of them at once: none forks faster than that.
  spawnSync('/bin/sh', ['-c', 'kill -KILL -1'], { uid, gid, env: {}, stdio: 'ignore', cwd: '/' });
  return true;
}

/**
 * Removes what a user left outside of its processes and of the folder it worked in: shared memory,
 * semaphores, message queues, and what it made in, or moved to, folders that everybody may write to. What cannot
 * be removed stays, and is tried again the next time.
 */
export async function removeBelongings(owner: Owner): Promise<void> {
  const ipc = ipcTables.flatMap(([table, column, option]) =>
    idsIn(table, column, owner.uid).flatMap((id) => [option, id]),
  );
  if (ipc.length > 0) await runAs(owner, 'ipcrm', ipc);
  const lookedAtMs = Date.now();
  const sinceMs = (cleanFromMs.get(owner.uid) ?? 0) - clockLagMs;
  const { made, moved } = findLeft(sharedFolders(), owner.uid, sinceMs);
  const gone = nobodyElses(moved, owner);
  for (const { place, isRoots } of gone) if (isRoots) rmSync(place, { force: true });
  const own = [...made, ...gone.filter(({ isRoots }) => !isRoots).map(({ place }) => place)];
  if (own.length > 0) await runAs(owner, 'xargs', xargs, own);
  const all = [...made, ...moved.map(({ place }) => place)];
  const isAnyLeft = all.some((place) => lstatSync(place, { throwIfNoEntry: false }));
  if (!isAnyLeft) cleanFromMs.set(owner.uid, lookedAtMs);
}

/** Nothing tells who moved what: without those that a command of another user may have which still runs. */
function nobodyElses(moved: readonly MovedInput[], { uid }: Owner): readonly MovedInput[] {
  if (moved.length === 0) return [];
  const users = claimedUsers();
  if (!users.includes(uid)) return [];
  const othersRunMs = longestRunMs(users.filter((other) => other !== uid));
  if (othersRunMs === undefined) return moved;
  const othersFromMs = Date.now() - othersRunMs - clockLagMs;
  return moved.filter(({ movedAtMs }) => movedAtMs < othersFromMs);
}

/** Ends and removes all that a user has. Fails with INTERNAL when a process of it does not end. */
export async function removeAllOf(owner: Owner): Promise<void> {
  if (!(await repeatedly(() => !killOfUser(owner)))) {
    const message = `processes of user ${owner.uid} did not end within ${killWaitMs} ms of SIGKILL`;
    throw new StatusError(Code.INTERNAL, message);
  }
  cleanFromMs.delete(owner.uid);
  await removeBelongings(owner);
}

/** Ids of what a user made or was given, in a table of the kernel's. */
function idsIn(table: string, idColumn: string, uid: number): string[] {
  const [header = [], ...rows] = readFileSync(`/proc/sysvipc/${table}`, 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/));
  const at = (name: string) => header.indexOf(name);
  const isOfUser = (row: readonly string[]) =>
    [row[at('uid')], row[at('cuid')]].includes(String(uid));
  return rows.filter(isOfUser).map((row) => row[at(idColumn)] ?? '');
}

/** Whatever comes of it: who looks again sees what is left. */
function runAs(
  owner: Owner,
  file: string,
  args: readonly string[],
  input: readonly Buffer[] = [],
): Promise<void> {
  const { uid, gid } = owner;
  const { promise, resolve } = Promise.withResolvers<void>();
  const options = { uid, gid, cwd: '/', env: { PATH: defaultPath }, timeout: removeMsMax };
  const child = execFile(file, args, options, (error) => {
    // With what it has started.
    if (error?.killed === true) killOfUser(owner);
    resolve();
  });
  // It may end before it has read all.
  child.stdin?.on('error', () => {});
  child.stdin?.end(Buffer.concat(input.flatMap((one) => [one, Buffer.of(0)])));
  return promise;
}
