import { execFile, spawnSync } from 'node:child_process';
import { lstatSync, readdirSync, readFileSync, statSync } from 'node:fs';
import type { Owner } from './executor.ts';
import { defaultPath } from './find-executable.ts';
import { killWaitMs, repeatedly } from './repeatedly.ts';
import { isAnyOfUser } from './processes.ts';
import { Code, StatusError } from '../base/status.ts';

/** Where everybody may make files, and what a command made is looked for. */
export const sharedFolders = ['/tmp', '/var/tmp', '/dev/shm', '/run/lock'];
/** Clocks of file systems lag behind by a tick or two. */
const clockLagMs = 1_000;
/** For some million files. */
const removeMsMax = 120_000;

const ipcTables = [
  ['shm', 'shmid', '-m'],
  ['sem', 'semid', '-s'],
  ['msg', 'msqid', '-q'],
] as const;

/**
 * Folders may have been closed by who made them. All of it is done as the user itself: others may be able to
 * write in its folders, and could make root follow a link.
 */
const removeScript =
  'uid=$1; shift; ' +
  'find "$@" -mindepth 1 -maxdepth 1 -uid "$uid" -exec chmod -R u+rwX {} + -exec rm -rf {} + 2>/dev/null';

/** Where the kernel shows message queues; undefined when nobody has mounted it, and none can be found. */
export function messageQueuesFolder(): string | undefined {
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  return mounts.map((line) => line.split(' ')).find(([, , type]) => type === 'mqueue')?.[1];
}

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
 * semaphores, message queues, and what it made in folders that everybody may write to. With `since`, a
 * moment, only if something was made there from then on. What cannot be removed stays.
 */
export async function removeBelongings(owner: Owner, since = 0): Promise<void> {
  const ipc = ipcTables.flatMap(([table, column, option]) =>
    idsIn(table, column, owner.uid).flatMap((id) => [option, id]),
  );
  if (ipc.length > 0) await runAs(owner, 'ipcrm', ipc);
  const queues = messageQueuesFolder();
  const folders = [...sharedFolders, ...(queues === undefined ? [] : [queues])];
  const touched = folders.filter((folder) => holdsAnyOf(folder, owner.uid, since));
  if (touched.length === 0) return;
  await runAs(owner, '/bin/sh', ['-c', removeScript, 'sh', String(owner.uid), ...touched]);
}

/** Ends and removes all that a user has. Fails with INTERNAL when a process of it does not end. */
export async function removeAllOf(owner: Owner): Promise<void> {
  if (!(await repeatedly(() => !killOfUser(owner)))) {
    const message = `processes of user ${owner.uid} did not end within ${killWaitMs} ms of SIGKILL`;
    throw new StatusError(Code.INTERNAL, message);
  }
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

function holdsAnyOf(folder: string, uid: number, since: number): boolean {
  const stats = statSync(folder, { throwIfNoEntry: false });
  if (!stats?.isDirectory() || stats.mtimeMs < since - clockLagMs) return false;
  const inside = Buffer.from(`${folder}/`);
  return readdirSync(folder, { encoding: 'buffer' }).some((name) => {
    const entry = lstatSync(Buffer.concat([inside, name]), { throwIfNoEntry: false });
    return entry?.uid === uid;
  });
}

/** Whatever comes of it: who looks again sees what is left. */
function runAs({ uid, gid }: Owner, file: string, args: readonly string[]): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const options = { uid, gid, cwd: '/', env: { PATH: defaultPath }, timeout: removeMsMax };
  execFile(file, args, options, () => resolve());
  return promise;
}
