import { lstatSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { inputTime } from '../base/input-time.ts';
import type { Digest } from '../digest/digest.ts';
import type { ParsedDirectory, ParsedFile } from './directory.ts';
import { inputModeOf } from './input-files.ts';

/** When a file system last changed a thing, and which one it is: no command can set either. */
interface Stamp {
  readonly dev: number;
  readonly ino: number;
  readonly changedAtMs: number;
}

/** A directory of an input root as it was written, with all below it. */
export interface WrittenFolder {
  readonly digest: Digest;
  readonly parsed: ParsedDirectory;
  /** In the order of `parsed.directories`. */
  readonly folders: readonly WrittenFolder[];
  /** A rename changes it. */
  stamp: Stamp;
  /** When each of its files, then its symlinks, was last changed; NaN for a hard link to a shared file. */
  readonly changesAtMs: Float64Array;
  /** Files, directories and symlinks, itself and all below; more where they have many properties. */
  readonly entries: number;
  readonly bytes: number;
}

/** Some milliseconds, between which others have their turn. */
const looksAtOnce = 256;

/** Most take less, with their names and properties. */
const BYTES_PER_ENTRY = 1000;

/** What was just written at `place`; `linked` are its hard links to shared files. */
export function writtenFolder(
  place: string,
  digest: Digest,
  parsed: ParsedDirectory,
  folders: readonly WrittenFolder[],
  linked: ReadonlySet<ParsedFile>,
): WrittenFolder {
  const { files, symlinks } = parsed;
  const changesAtMs = new Float64Array(files.length + symlinks.length);
  for (const [index, node] of [...files, ...symlinks].entries()) {
    const isShared = linked.has(node as ParsedFile);
    changesAtMs[index] = isShared ? Number.NaN : lstatSync(`${place}/${node.name}`).ctimeMs;
  }
  const stamp = stampOf(place);
  const memoryEntries = Math.ceil(parsed.memoryBytes / BYTES_PER_ENTRY);
  let entries = Math.max(1 + changesAtMs.length, memoryEntries);
  let bytes = files.reduce((sum, file) => sum + file.digest.sizeBytes, 0);
  for (const below of folders) {
    entries += below.entries;
    bytes += below.bytes;
  }
  return { digest, parsed, folders, stamp, changesAtMs, entries, bytes };
}

/** The latest stamp of the directory itself and what it holds, not of what is below. */
export function latestStampMs({ stamp, changesAtMs }: WrittenFolder): number {
  return changesAtMs.reduce((latest, at) => (at > latest ? at : latest), stamp.changedAtMs);
}

export function stampOf(place: string): Stamp {
  const { dev, ino, ctimeMs } = lstatSync(place);
  return { dev, ino, changedAtMs: ctimeMs };
}

/**
 * The path at which a directory, not what is below, is not as it was written; undefined when it is. Whatever
 * is done to it, to what it lists, or to a file of its own since then changes a stamp, which no command can set.
 * Shared files, which commands cannot change either, are looked at unless they are trusted.
 */
export function changeIn(
  place: string,
  written: WrittenFolder,
  shared: 'look' | 'trust',
): string | undefined {
  const { stamp, parsed, changesAtMs } = written;
  const { dev, ino, ctimeMs } = lstatSync(place, { throwIfNoEntry: false }) ?? {};
  const isSame = dev === stamp.dev && ino === stamp.ino && ctimeMs === stamp.changedAtMs;
  if (!isSame) return place;
  for (const [index, node] of [...parsed.files, ...parsed.symlinks].entries()) {
    const changedAtMs = changesAtMs[index] ?? 0;
    if (shared === 'trust' && Number.isNaN(changedAtMs)) continue;
    const at = `${place}/${node.name}`;
    if (!isSameEntry(at, changedAtMs, node as ParsedFile)) return at;
  }
  return undefined;
}

/** The first change in a directory and all below it; undefined when there is none. */
export async function findChange(
  place: string,
  folder: WrittenFolder,
): Promise<string | undefined> {
  const open = [{ place, folder }];
  let looks = 0;
  for (let next = open.pop(); next; next = open.pop()) {
    const { place: at, folder: written } = next;
    const change = changeIn(at, written, 'look');
    if (change !== undefined) return change;
    for (const [index, below] of written.folders.entries()) {
      const { name = '' } = written.parsed.directories[index] ?? {};
      open.push({ place: `${at}/${name}`, folder: below });
    }
    looks += 1 + written.changesAtMs.length;
    if (looks < looksAtOnce) continue;
    looks = 0;
    await setImmediate();
  }
  return undefined;
}

/** A shared file changes its stamp with each link to it: its size, mode and time must be right. */
function isSameEntry(place: string, changedAtMs: number, file: ParsedFile): boolean {
  const stats = lstatSync(place, { throwIfNoEntry: false });
  if (!stats) return false;
  if (!Number.isNaN(changedAtMs)) return stats.ctimeMs === changedAtMs;
  return (
    stats.isFile() &&
    stats.size === file.digest.sizeBytes &&
    (stats.mode & 0o7777) === inputModeOf(file.isExecutable) &&
    stats.mtimeMs === inputTime.getTime()
  );
}
