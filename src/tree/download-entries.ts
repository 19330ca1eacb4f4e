import { lstat, mkdir, rename, rm, symlink } from 'node:fs/promises';
import path from 'node:path';
import { chunksOf } from '../base/chunks.ts';
import type { NewId } from '../base/id.ts';
import { quoted } from '../base/quoted.ts';
import { Code, StatusError } from '../base/status.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import { Digest } from '../digest/digest.ts';
import { downloadFile, temporaryBeside } from './download-file.ts';
import { resolveInRoot } from './output-path.ts';
import { transferEach } from './transfer-each.ts';

/** Something to make in a local folder. `path` is relative to it, and comes from outside. */
export type DownloadEntry =
  | { readonly kind: 'directory'; readonly path: string }
  | {
      readonly kind: 'file';
      readonly path: string;
      readonly digest: Digest;
      readonly isExecutable: boolean;
      /** The file's bytes, if the server sent them along; not checked yet. */
      readonly contents?: Uint8Array;
    }
  | { readonly kind: 'symlink'; readonly path: string; readonly target: string };

type Entry<K extends DownloadEntry['kind']> = Extract<DownloadEntry, { kind: K }>;

export interface DownloadProgress {
  readonly files: number;
  readonly bytes: number;
  readonly doneFiles: number;
  readonly doneBytes: number;
}

/**
 * Makes the entries in `folder`, over what is there. A hostile server gains nothing (CLI-16): paths that
 * are absolute or lead out of the folder, and entries inside of a file or link, fail with
 * INVALID_ARGUMENT before anything is made. What is already there is not followed when it is a link:
 * such a parent fails with FAILED_PRECONDITION. Links are made last, and point wherever they like.
 */
export async function downloadEntries(
  folder: string,
  entries: Iterable<DownloadEntry>,
  blobs: BlobStore,
  newId: NewId,
  signal: AbortSignal,
  onProgress: (progress: DownloadProgress) => void = () => {},
): Promise<DownloadProgress> {
  const plan = planOf(entries);
  const at = (relative: string) => path.join(folder, relative);
  await mkdir(folder, { recursive: true });
  for (const relative of plan.folders) {
    if (relative !== '') await makeFolder(at(relative));
  }
  const bytes = plan.files.reduce((sum, { digest }) => sum + digest.sizeBytes, 0);
  let progress = { files: plan.files.length, bytes, doneFiles: 0, doneBytes: 0 };
  const fetch = async (file: Entry<'file'>, either: AbortSignal) => {
    const chunks = sentAlong(file) ?? blobs.read(file.digest, 0, either);
    await downloadFile(at(file.path), chunks, file.isExecutable, newId);
    const { doneFiles, doneBytes } = progress;
    const sizeBytes = doneBytes + file.digest.sizeBytes;
    progress = { ...progress, doneFiles: doneFiles + 1, doneBytes: sizeBytes };
    onProgress(progress);
  };
  await transferEach(plan.files, fetch, signal);
  for (const { path: relative, target } of plan.symlinks) {
    await makeSymlink(at(relative), target, newId);
  }
  return progress;
}

interface Plan {
  /** Parents first. */
  readonly folders: readonly string[];
  readonly files: readonly Entry<'file'>[];
  readonly symlinks: readonly Entry<'symlink'>[];
}

function planOf(entries: Iterable<DownloadEntry>): Plan {
  const folders = new Set<string>();
  const leaves = new Map<string, Entry<'file'> | Entry<'symlink'>>();
  for (const entry of entries) {
    const relative = resolveInRoot('', entry.path);
    if (relative === undefined) throw refusal(entry.path, 'leads out of the folder or is too long');
    if (entry.kind === 'directory') addFolder(folders, relative);
    else if (relative === '') throw refusal(entry.path, 'is the folder itself');
    else {
      addFolder(folders, parentOf(relative));
      leaves.set(relative, { ...entry, path: relative });
    }
  }
  for (const relative of leaves.keys()) {
    if (folders.has(relative)) throw refusal(relative, 'is both a directory and not one');
  }
  const all = [...leaves.values()];
  return {
    folders: [...folders].toSorted((a, b) => depthOf(a) - depthOf(b)),
    files: all.filter((entry) => entry.kind === 'file'),
    symlinks: all.filter((entry) => entry.kind === 'symlink'),
  };
}

function addFolder(folders: Set<string>, relative: string): void {
  for (let at = relative; !folders.has(at); at = parentOf(at)) folders.add(at);
}

const parentOf = (relative: string) => relative.slice(0, Math.max(0, relative.lastIndexOf('/')));
const depthOf = (relative: string) => (relative === '' ? 0 : relative.split('/').length);

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    const stats = await lstat(folder);
    if (stats.isDirectory()) return;
    const what = stats.isSymbolicLink() ? 'a link, which is not followed' : 'not a folder';
    throw new StatusError(
      Code.FAILED_PRECONDITION,
      `${folder} is ${what}: remove it, or choose another folder for the output`,
    );
  }
}

async function makeSymlink(link: string, target: string, newId: NewId): Promise<void> {
  const temporary = temporaryBeside(link, newId);
  await symlink(target, temporary);
  try {
    await rename(temporary, link);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Contents that do not match their digest are of no use; the blob is read instead. */
function sentAlong({ contents, digest }: Entry<'file'>) {
  if (!contents || contents.length !== digest.sizeBytes) return undefined;
  return Digest.ofBytes(digest.function, contents).equals(digest) ? chunksOf(contents) : undefined;
}

function refusal(relative: string, why: string): StatusError {
  return new StatusError(
    Code.INVALID_ARGUMENT,
    `the server sent an output at ${quoted(relative)}, which ${why}; nothing was written`,
  );
}
