import { type Dirent, lstatSync, readdirSync, type Stats, statSync } from 'node:fs';
import { inputTime } from '../base/input-time.ts';

/** Clocks of file systems lag behind by a tick or two. */
export const clockLagMs = 1_000;
/** So many others' folders that users may write to are looked into. */
const foldersMax = 10_000;

interface KnownFolders {
  readonly changedAtMs: number;
  readonly names: readonly Buffer[];
}

/** The folders in those that are looked into, by path. */
const knownFolders = new Map<string, KnownFolders>();

export interface LeftFiles {
  /** The user's own. */
  readonly made: Buffer[];
  readonly moved: MovedInput[];
}

/** An input, which is root's. */
export interface MovedInput {
  readonly place: Buffer;
  readonly movedAtMs: number;
  /** It is in a folder in which root can remove it safely. In others, its user can. */
  readonly isRoots: boolean;
}

/** What of a user is in folders, and in those in them that others than their owners may write to. */
export function findLeft(folders: readonly string[], uid: number, sinceMs: number): LeftFiles {
  const found: LeftFiles = { made: [], moved: [] };
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
