import { constants } from 'node:fs';
import {
  chmod,
  chown,
  copyFile,
  lutimes,
  mkdir,
  rename,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { concurrently } from '../base/concurrently.ts';
import { inputTime } from '../base/input-time.ts';
import { Code, StatusError } from '../base/status.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import type { Digest } from '../digest/digest.ts';
import type { NodeProperties } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { ParsedFile } from './directory.ts';
import { type HeldFiles, type InputFiles, inputModeOf } from './input-files.ts';
import type { InputFolders } from './input-folders.ts';
import { missingBlobs } from './missing-blobs.ts';
import { type Planned, planInputRoot, type PlanOptions, putAllBack } from './plan-input-root.ts';
import { latestStampMs, stampOf, type WrittenFolder, writtenFolder } from './written-folder.ts';

export interface FetchOptions extends PlanOptions {
  readonly files: InputFiles;
}

/** Twice the file threads of Node: they are never idle. */
const filesAtOnce = 8;
/** Some milliseconds, between which others have their turn. */
const foldersAtOnce = 64;

/**
 * Writes the input root to `folder`, which must not exist. Folders have mode 0755, files 0444 or 0555, and all
 * have one time; links are made as they are, and nothing is ever written through one (DIR-11, DIR-15). When
 * blobs are missing it fails with FAILED_PRECONDITION and names all of them (WRK-06, EXE-53). Gives what was
 * written where folders are kept, so that it can be kept later, unless it could not tell a later change of it.
 */
export async function fetchInputRoot(
  root: Digest,
  folder: string,
  blobs: BlobStore,
  options: FetchOptions,
  signal: AbortSignal,
): Promise<WrittenFolder | undefined> {
  const { files, folders } = options;
  const planned = await planInputRoot(root, folder, blobs, options, signal);
  let held: HeldFiles | undefined;
  let placed = 0;
  try {
    const made = planned.filter(({ taken }) => !taken);
    const inputs = made.flatMap(({ parsed }) => parsed.files);
    const wanted = inputs.filter(({ digest }) => digest.sizeBytes > 0);
    held = await files.hold(wanted, blobs, signal);
    if (held.missing.length > 0) throw missingBlobs(held.missing);
    for (const one of planned) {
      signal.throwIfAborted();
      if (one.taken) await rename(one.taken.path, one.path);
      else await makeFolder(one, options);
      placed++;
    }
    await makeFiles(made, held, options, signal);
    await finishFolders(made);
    return folders && (await writtenRoot(planned, folders, signal));
  } catch (error) {
    putAllBack(planned.slice(placed), options);
    throw pathTooLong(error) ?? error;
  } finally {
    held?.release();
  }
}

/** Makes the folder, and the links in it. */
async function makeFolder({ path, parsed }: Planned, { owner }: FetchOptions): Promise<void> {
  await mkdir(path);
  await chmod(path, 0o755);
  if (owner) await chown(path, owner.uid, owner.gid);
  for (const { name, target, properties } of parsed.symlinks) {
    await symlink(target, `${path}/${name}`);
    const time = timeOf(properties) ?? inputTime;
    await lutimes(`${path}/${name}`, time, time);
  }
}

function makeFiles(
  made: readonly Planned[],
  held: HeldFiles,
  options: FetchOptions,
  signal: AbortSignal,
): Promise<void> {
  const all = function* (): Generator<[Planned, ParsedFile]> {
    for (const folder of made) for (const file of folder.parsed.files) yield [folder, file];
  };
  return concurrently(
    all(),
    filesAtOnce,
    async ([{ path, linked }, file]) => {
      if (await madeLink(`${path}/${file.name}`, file, held, options)) linked.add(file);
    },
    signal,
  );
}

/** True for a hard link, false for a file of its own. */
async function madeLink(
  path: string,
  file: ParsedFile,
  held: HeldFiles,
  { hardLinks, owner }: FetchOptions,
): Promise<boolean> {
  const { properties, isExecutable, digest } = file;
  const time = timeOf(properties);
  const isPlain = time === undefined && properties?.unixMode === undefined;
  if (digest.sizeBytes > 0) {
    if (hardLinks && isPlain && (await couldLink(held, file, path))) return true;
    // Takes over the mode as well.
    await copyFile(held.pathOf(file), path, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL);
  } else {
    await writeFile(path, '', { flag: 'wx' });
    await chmod(path, inputModeOf(isExecutable));
  }
  await utimes(path, time ?? inputTime, time ?? inputTime);
  if (isPlain) return false;
  if (properties?.unixMode !== undefined) await chmod(path, properties.unixMode & 0o777);
  // It may be readable for its owner alone.
  if (owner) await chown(path, owner.uid, owner.gid);
  return false;
}

/** False on a file system that has no links, or is another, and when the file has all that it can have. */
async function couldLink(held: HeldFiles, file: ParsedFile, to: string): Promise<boolean> {
  try {
    await held.link(file, to);
    return true;
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (['EXDEV', 'EMLINK', 'EPERM', 'ENOTSUP', 'EOPNOTSUPP'].includes(code)) return false;
    throw error;
  }
}

/** Children first, and all at the end: making an entry changes the time, and needs the right to write. */
async function finishFolders(made: readonly Planned[]): Promise<void> {
  for (const { path, parsed } of made.toReversed()) {
    const { properties } = parsed;
    const time = timeOf(properties) ?? inputTime;
    await utimes(path, time, time);
    if (properties?.unixMode !== undefined) await chmod(path, properties.unixMode & 0o777);
  }
}

/** What is on the disk now; undefined when a change that comes at once could have the same stamp. */
async function writtenRoot(
  planned: readonly Planned[],
  folders: InputFolders,
  signal: AbortSignal,
): Promise<WrittenFolder | undefined> {
  let latestMs = 0;
  for (const [index, one] of planned.toReversed().entries()) {
    if (index % foldersAtOnce === 0) await setImmediate();
    const { path, digest, parsed, taken, below, linked } = one;
    if (taken) {
      taken.written.stamp = stampOf(path);
      one.written = taken.written;
    } else {
      const inside = below.flatMap(({ written }) => written ?? []);
      one.written = writtenFolder(path, digest, parsed, inside, linked);
    }
    latestMs = Math.max(latestMs, latestStampMs(one.written));
  }
  const root = planned[0]?.written;
  return root && (await folders.ticked(latestMs, signal)) ? root : undefined;
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
