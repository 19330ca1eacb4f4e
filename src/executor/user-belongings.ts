import { execFile, spawnSync } from 'node:child_process';
import {
  type Dirent,
  lstatSync,
  readdirSync,
  readFileSync,
  rmSync,
  type Stats,
  statSync,
} from 'node:fs';
import { inputTime } from '../base/input-time.ts';
import type { Owner } from './executor.ts';
import { claimedUsers } from './claim-users.ts';
import { defaultPath } from './find-executable.ts';
import { killWaitMs, repeatedly } from './repeatedly.ts';
import { isAnyOfUser, longestRunMs } from './processes.ts';
import { Code, StatusError } from '../base/status.ts';

/** Where everybody may make files, and what a command made is looked for. */
export const sharedFolders = ['/tmp', '/var/tmp', '/dev/shm', '/run/lock'];
/** Clocks of file systems lag behind by a tick or two. */
const clockLagMs = 1_000;
/** So many others' folders that users may write to are looked into. */
const foldersMax = 10_000;
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

interface KnownFolders {
  readonly changedAtMs: number;
  readonly names: readonly Buffer[];
}

/** The folders in those that are looked into, by path. */
const knownFolders = new Map<string, KnownFolders>();

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
 * semaphores, message queues, and what it made in, or moved to, folders that everybody may write to. What cannot
 * be removed stays, and is tried again the next time.
 */
export async function removeBelongings(owner: Owner): Promise<void> {
  const ipc = ipcTables.flatMap(([table, column, option]) =>
    idsIn(table, column, owner.uid).flatMap((id) => [option, id]),
  );
  if (ipc.length > 0) await runAs(owner, 'ipcrm', ipc);
  const lookedAtMs = Date.now();
  const queues = messageQueuesFolder();
  const folders = [...sharedFolders, ...(queues === undefined ? [] : [queues])];
  const sinceMs = (cleanFromMs.get(owner.uid) ?? 0) - clockLagMs;
  const { made, moved } = findLeft(folders, owner.uid, sinceMs);
  const gone = nobodyElses(moved, owner);
  for (const { place, isRoots } of gone) if (isRoots) rmSync(place, { force: true });
  const own = [...made, ...gone.filter(({ isRoots }) => !isRoots).map(({ place }) => place)];
  if (own.length > 0) await runAs(owner, 'xargs', xargs, own);
  const all = [...made, ...moved.map(({ place }) => place)];
  const isAnyLeft = all.some((place) => lstatSync(place, { throwIfNoEntry: false }));
  if (!isAnyLeft) cleanFromMs.set(owner.uid, lookedAtMs);
}

/** Nothing tells who moved what: without those that a command of another user may have which still runs. */
function nobodyElses(moved: readonly Moved[], { uid }: Owner): readonly Moved[] {
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

interface Left {
  /** The user's own. */
  readonly made: Buffer[];
  readonly moved: Moved[];
}

/** An input, which is root's. */
interface Moved {
  readonly place: Buffer;
  readonly movedAtMs: number;
  /** It is in a folder in which root can remove it safely. In others, its user can. */
  readonly isRoots: boolean;
}

/** What of a user is in folders, and in those in them that others than their owners may write to. */
function findLeft(folders: readonly string[], uid: number, sinceMs: number): Left {
  const found: Left = { made: [], moved: [] };
  const open = folders.map((folder) => ({ at: Buffer.from(folder), isSafe: true }));
  for (const { at, isSafe } of open) {
    const folder = statSync(at, { throwIfNoEntry: false });
    if (!folder?.isDirectory()) continue;
    // Nobody but root can put another thing in the place of one of root's in it.
    const isRoots =
      isSafe && folder.uid === 0 && ((folder.mode & 0o22) === 0 || (folder.mode & 0o1000) !== 0);
    for (const name of folder.ctimeMs >= sinceMs ? namesIn(at) : foldersIn(at, folder.ctimeMs)) {
      const place = Buffer.concat([at, Buffer.from('/'), name]);
      const stats = lstatSync(place, { throwIfNoEntry: false });
      if (stats?.uid === uid) found.made.push(place);
      else if (stats && isInput(stats))
        found.moved.push({ place, movedAtMs: stats.ctimeMs, isRoots });
      else if (
        stats?.isDirectory() === true &&
        (stats.mode & 0o22) !== 0 &&
        open.length < foldersMax
      )
        open.push({ at: place, isSafe: isRoots });
    }
  }
  return found;
}

/** One of root's that are linked into input roots, or empty. Who may move it there cannot change it. */
function isInput({ uid, mode, mtimeMs, nlink, size }: Stats): boolean {
  if (uid !== 0 || ![0o100_444, 0o100_555].includes(mode)) return false;
  return mtimeMs === inputTime.getTime() && (nlink > 1 || size === 0);
}

function namesIn(folder: Buffer): Buffer[] {
  return entriesOf(folder).map(({ name }) => name);
}

/** Of a folder that has not changed for longer than clocks lag: others may have many files there. */
function foldersIn(folder: Buffer, changedAtMs: number): readonly Buffer[] {
  const key = folder.toString('latin1');
  const known = knownFolders.get(key);
  if (known?.changedAtMs === changedAtMs) return known.names;
  const found = entriesOf(folder).filter((entry) => entry.isDirectory());
  const names = found.map(({ name }) => name);
  if (knownFolders.size === foldersMax) knownFolders.clear();
  knownFolders.set(key, { changedAtMs, names });
  return names;
}

function entriesOf(folder: Buffer): Dirent<Buffer>[] {
  try {
    return readdirSync(folder, { encoding: 'buffer', withFileTypes: true });
  } catch {
    // It was another user's, who took it away.
    return [];
  }
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
