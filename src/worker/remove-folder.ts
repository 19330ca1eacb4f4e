import { closeSync, constants, fchmodSync, fchownSync, openSync } from 'node:fs';
import { chmod, lstat, rename, rmdir, unlink } from 'node:fs/promises';
import { concurrently } from '../base/concurrently.ts';
import { folderEntries } from '../base/folder-entries.ts';

/** Half of what a path may have, so that what is below can be reached. */
const pathBytesMax = 2_000;

/** Twice the file threads of Node: they are never idle. */
const unlinksAtOnce = 8;
const isRoot = process.getuid?.() === 0;
const never = new AbortController().signal;

/**
 * Removes a folder and all in it, also what a command made hard to remove: folders without rights, names
 * that are not UTF-8, paths longer than the system takes. Links are removed, never followed; as root, also not
 * those that a command of another slot puts there meanwhile. Nothing happens when the folder is not there.
 */
export async function removeFolder(folder: string): Promise<void> {
  const stats = await lstat(folder).catch(undefinedIfGone);
  if (!stats) return;
  if (!stats.isDirectory()) {
    await unlink(folder);
    return;
  }
  try {
    await removePlain(folder);
  } catch {
    await removeStubborn(folder);
  }
}

function undefinedIfGone(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
}

/**
 * One call for each file, where `fs.rm` makes two. As bytes, no name can pass for another one; a batch at a
 * time, no folder has too many for the memory.
 */
async function removePlain(folder: string): Promise<void> {
  const folders: Buffer[] = [Buffer.from(folder)];
  for (const at of folders) {
    if (isRoot) takeOver(at);
    for await (const entries of folderEntries(at)) {
      const files: Buffer[] = [];
      for (const entry of entries) {
        (entry.isDirectory() ? folders : files).push(inside(at, entry.name));
      }
      await concurrently(files, unlinksAtOnce, (file) => unlink(file), never);
    }
  }
  for (const emptied of folders.toReversed()) await rmdir(emptied);
}

/**
 * Makes a folder root's own, and nobody else's to change. A command may have opened it to all and handed it to
 * one of another user, which could put links in the place of what was seen in it: whoever goes down a tree as root
 * takes over each folder first. Throws when it is none, or a link to one.
 */
export function takeOver(folder: string | Buffer): void {
  const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
  const opened = openSync(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    fchownSync(opened, 0, 0);
    fchmodSync(opened, 0o700);
  } finally {
    closeSync(opened);
  }
}

function inside(folder: Buffer, name: Buffer): Buffer {
  return Buffer.concat([folder, Buffer.from('/'), name]);
}

/** Gives the rights back to folders, and only to them: a file may be a link to one in the cache. */
async function removeStubborn(folder: string): Promise<void> {
  const folders: Buffer[] = [];
  const pending: Buffer[] = [Buffer.from(folder)];
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    folders.push(at);
    if (isRoot) takeOver(at);
    else await chmod(at, 0o700);
    for await (const entries of folderEntries(at)) {
      for (const { name } of entries) {
        const place = inside(at, name);
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
  }
  for (const emptied of folders.toReversed()) await rmdir(emptied);
}
