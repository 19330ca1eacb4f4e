import { constants } from 'node:fs';
import {
  chmod,
  chown,
  copyFile,
  lutimes,
  mkdir,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { concurrently } from '../base/concurrently.ts';
import { Code, StatusError } from '../base/status.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import type { Digest } from '../digest/digest.ts';
import type { NodeProperties } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { DirectoryCache } from './directory-cache.ts';
import type { ParsedDirectory, ParsedFile } from './directory.ts';
import { type HeldFiles, type InputFiles, inputModeOf, inputTime } from './input-files.ts';
import { missingBlobs } from './missing-blobs.ts';
import { type TreeLimits, type WalkedTree, walkDirectories } from './walk-directories.ts';

export interface FetchOptions {
  readonly files: InputFiles;
  readonly limits: TreeLimits;
  readonly directories: DirectoryCache;
  /** Files may share their inode with `files`: commands cannot change them (WRK-03). */
  readonly hardLinks: boolean;
  /** Whom folders belong to, so that commands can write to them; undefined for the worker's own user. */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
}

interface Folder {
  readonly path: string;
  readonly parsed: ParsedDirectory;
}

/** Twice the file threads of Node: they are never idle. */
const filesAtOnce = 8;
/** Digests per findMissing, far below a message's 4 MiB. */
const digestsPerCallMax = 10_000;

/**
 * Writes the input root to `folder`, which must not exist. Folders have mode 0755, files 0444 or 0555;
 * links are made as they are, and nothing is ever written through one (DIR-11, DIR-15). When blobs are
 * missing it fails with FAILED_PRECONDITION and names all of them (WRK-06, EXE-53).
 */
export async function fetchInputRoot(
  root: Digest,
  folder: string,
  blobs: BlobStore,
  options: FetchOptions,
  signal: AbortSignal,
): Promise<void> {
  const { limits, directories: cache } = options;
  const tree = await walkDirectories(root, blobs, { limits, cache }, signal);
  if (tree.missing.length > 0) {
    throw missingBlobs([...tree.missing, ...(await missingFiles(tree, blobs, signal))]);
  }
  const inputs = [...tree.directories.values()].flatMap(({ parsed }) => parsed.files);
  const wanted = inputs.filter(({ digest }) => digest.sizeBytes > 0);
  const held = await options.files.hold(wanted, blobs, signal);
  try {
    if (held.missing.length > 0) throw missingBlobs(held.missing);
    const folders = await makeFolders(root, folder, tree, options, signal);
    await concurrently(
      filesOf(folders),
      filesAtOnce,
      ([at, file]) => makeFile(`${at.path}/${file.name}`, file, held, options),
      signal,
    );
    await finishFolders(folders);
  } catch (error) {
    throw pathTooLong(error) ?? error;
  } finally {
    held.release();
  }
}

async function missingFiles(tree: WalkedTree, blobs: BlobStore, signal: AbortSignal) {
  const digests = [...tree.files.values()];
  const missing: Digest[] = [];
  for (let from = 0; from < digests.length; from += digestsPerCallMax) {
    const batch = digests.slice(from, from + digestsPerCallMax);
    missing.push(...(await blobs.findMissing(batch, signal)));
  }
  return missing;
}

/** Makes every folder, a parent before its children, and the links in it. */
async function makeFolders(
  root: Digest,
  rootPath: string,
  tree: WalkedTree,
  { owner }: FetchOptions,
  signal: AbortSignal,
): Promise<Folder[]> {
  const parsedOf = (digest: Digest) => {
    const found = tree.directories.get(digest.key);
    if (!found) throw new Error(`directory ${digest} is in no list of the walk`);
    return found.parsed;
  };
  const folders: Folder[] = [{ path: rootPath, parsed: parsedOf(root) }];
  for (const { path, parsed } of folders) {
    signal.throwIfAborted();
    await mkdir(path);
    await chmod(path, 0o755);
    if (owner) await chown(path, owner.uid, owner.gid);
    for (const { name, target, properties } of parsed.symlinks) {
      await symlink(target, `${path}/${name}`);
      const time = timeOf(properties);
      if (time !== undefined) await lutimes(`${path}/${name}`, time, time);
    }
    for (const { name, digest } of parsed.directories) {
      folders.push({ path: `${path}/${name}`, parsed: parsedOf(digest) });
    }
  }
  return folders;
}

function* filesOf(folders: readonly Folder[]): Generator<[Folder, ParsedFile]> {
  for (const folder of folders) for (const file of folder.parsed.files) yield [folder, file];
}

async function makeFile(
  path: string,
  file: ParsedFile,
  held: HeldFiles,
  { hardLinks, owner }: FetchOptions,
): Promise<void> {
  const { properties, isExecutable, digest } = file;
  const time = timeOf(properties);
  const isPlain = time === undefined && properties?.unixMode === undefined;
  if (digest.sizeBytes > 0) {
    if (hardLinks && isPlain && (await couldLink(held, file, path))) return;
    // Takes over the mode as well.
    await copyFile(held.pathOf(file), path, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL);
  } else {
    await writeFile(path, '', { flag: 'wx' });
    await chmod(path, inputModeOf(isExecutable));
  }
  await utimes(path, time ?? inputTime, time ?? inputTime);
  if (isPlain) return;
  if (properties?.unixMode !== undefined) await chmod(path, properties.unixMode & 0o777);
  // It may be readable for its owner alone.
  if (owner) await chown(path, owner.uid, owner.gid);
}

/** False on another file system, and when the file has all the links that it can have. */
async function couldLink(held: HeldFiles, file: ParsedFile, to: string): Promise<boolean> {
  try {
    await held.link(file, to);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EXDEV' || code === 'EMLINK') return false;
    throw error;
  }
}

/** Children first, and all at the end: making an entry changes the time, and needs the right to write. */
async function finishFolders(folders: readonly Folder[]): Promise<void> {
  for (const { path, parsed } of folders.toReversed()) {
    const { properties } = parsed;
    if (!properties) continue;
    const time = timeOf(properties);
    if (time !== undefined) await utimes(path, time, time);
    if (properties.unixMode !== undefined) await chmod(path, properties.unixMode & 0o777);
  }
}

/** Node takes a negative number for the time that it is. */
function timeOf(properties: NodeProperties | undefined): Date | number | undefined {
  const { mtime } = properties ?? {};
  if (!mtime) return undefined;
  const seconds = mtime.seconds + mtime.nanos / 1e9;
  return seconds < 0 ? new Date(seconds * 1_000) : seconds;
}

/** A path or link target that this system cannot have is the action's fault, not the machine's. */
function pathTooLong(error: unknown): StatusError | undefined {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code !== 'ENAMETOOLONG') return undefined;
  const shown = message.slice(0, 300);
  return new StatusError(
    Code.INVALID_ARGUMENT,
    `the input root has a path or a link target that is too long: ${shown}`,
  );
}
