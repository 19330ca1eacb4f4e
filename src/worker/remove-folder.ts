import { chmod, lstat, readdir, rename, rm, rmdir, unlink } from 'node:fs/promises';

/** Half of what a path may have, so that what is below can be reached. */
const pathBytesMax = 2_000;

/**
 * Removes a folder and all in it, also what a command made hard to remove: folders without rights, names
 * that are not UTF-8, paths longer than the system takes. Links are removed, never followed. Nothing
 * happens when the folder is not there.
 */
export async function removeFolder(folder: string): Promise<void> {
  try {
    await rm(folder, { recursive: true, force: true });
  } catch {
    await removeStubborn(folder);
  }
}

/** Gives the rights back to folders, and only to them: a file may be a link to one in the cache. */
async function removeStubborn(folder: string): Promise<void> {
  const folders: Buffer[] = [];
  const pending = [Buffer.from(folder)];
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    folders.push(at);
    await chmod(at, 0o700);
    for (const name of await readdir(at, { encoding: 'buffer' })) {
      const place = Buffer.concat([at, Buffer.from('/'), name]);
      if (!(await lstat(place)).isDirectory()) {
        await unlink(place);
      } else if (place.length < pathBytesMax) {
        pending.push(place);
      } else {
        const nearer = Buffer.from(`${folder}.deep-${folders.length}-${pending.length}`);
        await rename(place, nearer);
        pending.push(nearer);
      }
    }
  }
  for (const emptied of folders.toReversed()) await rmdir(emptied);
}
