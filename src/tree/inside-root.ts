import { chmod, chown, lstat, mkdir, realpath } from 'node:fs/promises';
import path from 'node:path';
import { Code, StatusError } from '../base/status.ts';

/**
 * The folder at `fromRoot` in the input root `root`, as a real path; undefined when it is not there, or is no
 * folder, or the root is gone. Links on the way are followed only while they stay inside: FAILED_PRECONDITION
 * otherwise, for a command may have put them there (RES-22).
 */
export function findFolder(root: string, fromRoot: string): Promise<string | undefined> {
  return walk(root, fromRoot, () => Promise.resolve(undefined));
}

/**
 * Makes the folder at `fromRoot`, and those above it. Fails like `findFolder`, and with INVALID_ARGUMENT
 * when a file is in the way.
 */
export async function makeFolder(
  root: string,
  fromRoot: string,
  owner: { readonly uid: number; readonly gid: number } | undefined,
): Promise<void> {
  const made = await walk(root, fromRoot, async (folder) => {
    await mkdir(folder);
    await chmod(folder, 0o755);
    if (owner) await chown(folder, owner.uid, owner.gid);
    return folder;
  });
  if (made !== undefined) return;
  throw new StatusError(
    Code.INVALID_ARGUMENT,
    `an output is to be in ${JSON.stringify(fromRoot)}, where the input root has a file`,
  );
}

/** The real path that the input root had before the command ran, which may have put a link in its place. */
export async function realRootOf(root: string): Promise<string> {
  return path.join(await realpath(path.dirname(root)), path.basename(root));
}

async function walk(
  root: string,
  fromRoot: string,
  onMissing: (folder: string) => Promise<string | undefined>,
): Promise<string | undefined> {
  const realRoot = await realRootOf(root);
  // The command may have taken it away, or put a link in its place.
  const isThere = (await lstatIfAny(realRoot))?.isDirectory() === true;
  let at = isThere ? realRoot : undefined;
  for (const segment of fromRoot.split('/')) {
    if (at === undefined) return undefined;
    if (segment !== '') at = await enter(realRoot, path.join(at, segment), onMissing);
  }
  return at;
}

async function enter(
  realRoot: string,
  place: string,
  onMissing: (folder: string) => Promise<string | undefined>,
): Promise<string | undefined> {
  const stats = await lstatIfAny(place);
  if (!stats) return onMissing(place);
  if (stats.isDirectory()) return place;
  if (!stats.isSymbolicLink()) return undefined;
  const target = await realpathIfAny(place);
  if (target === undefined) return undefined;
  if (target !== realRoot && !target.startsWith(`${realRoot}/`)) {
    throw new StatusError(
      Code.FAILED_PRECONDITION,
      `the link ${JSON.stringify(path.relative(realRoot, place))} leads out of the input root`,
    );
  }
  const reached = await lstatIfAny(target);
  return reached?.isDirectory() === true ? target : undefined;
}

/** What is at a path, links not followed; undefined when nothing is. */
export async function lstatIfAny(place: string) {
  try {
    return await lstat(place, { bigint: true });
  } catch (error) {
    return undefinedIfAbsent(error);
  }
}

async function realpathIfAny(place: string): Promise<string | undefined> {
  try {
    return await realpath(place);
  } catch (error) {
    return undefinedIfAbsent(error);
  }
}

/** ELOOP: a link that leads to itself leads nowhere. */
export function undefinedIfAbsent(error: unknown): undefined {
  const { code = '' } = error as NodeJS.ErrnoException;
  if (!['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG'].includes(code)) throw error;
}
