import type { BigIntStats } from 'node:fs';
import { lstat, readlink } from 'node:fs/promises';
import { concurrently } from '../base/concurrently.ts';
import { Code, StatusError } from '../base/status.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import { Digest } from '../digest/digest.ts';
import { Directory } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { digestOfFile } from './file-chunks.ts';
import { entriesIn, type Opening } from './in-place.ts';
import { compareNames } from './name-order.ts';
import { type NodePropertyName, nodePropertiesOf } from './node-properties.ts';
import { textOf } from './utf8-text.ts';

export interface ScanOptions {
  /** What to do with sockets, FIFOs and devices, which no blob can hold (RES-12). */
  readonly specialFiles: 'refuse' | 'skip';
  /** Which properties to put on every node. */
  readonly nodeProperties: ReadonlySet<NodePropertyName>;
  /** Files, directories and links together. */
  readonly entriesMax: number;
  readonly bytesMax: number;
  readonly depthMax: number;
  /** How many files are read at once. */
  readonly readsMax: number;
  /** How folders and files are opened; in place, the folder must be a real path. */
  readonly opening: Opening;
  /** Is shown each entry, and throws for one that must not be read. */
  readonly admit: (path: string, stats: BigIntStats) => void;
}

/** What several scans together may still take. */
export interface ScanBudget {
  entries: number;
  bytes: number;
}

export const defaultScanOptions: ScanOptions = {
  specialFiles: 'refuse',
  nodeProperties: new Set(),
  // A large checkout has some 100,000 files; the entries take about 1 KiB of memory each.
  entriesMax: 1_000_000,
  bytesMax: 1024 ** 4,
  // Paths end at 4,096 bytes: no tree that can be used is deeper than half of that.
  depthMax: 1_000,
  // Twice the file threads of Node, so that hashing and reading overlap.
  readsMax: 8,
  opening: 'anywhere',
  admit: () => {},
};

/** A Directory message, ready to be stored. */
export interface DirectoryBlob {
  readonly digest: Digest;
  readonly bytes: Uint8Array;
}

export interface FileBlob {
  readonly digest: Digest;
  readonly path: string;
}

/** A folder as a Merkle tree. */
export interface ScannedFolder {
  readonly root: Digest;
  /** The root first; each distinct directory once, after all its parents (RES-15, RES-16). */
  readonly directories: readonly DirectoryBlob[];
  readonly files: readonly FileBlob[];
  readonly totals: {
    readonly files: number;
    readonly directories: number;
    readonly symlinks: number;
    readonly bytes: number;
  };
}

interface FoundFile {
  readonly name: string;
  readonly path: string;
  readonly stats: BigIntStats;
  digest: Digest | undefined;
}

interface FoundSymlink {
  readonly name: string;
  readonly target: string;
  readonly stats: BigIntStats;
}

interface FoundFolder {
  readonly name: string;
  readonly path: string;
  readonly depth: number;
  readonly stats: BigIntStats;
  readonly files: FoundFile[];
  readonly symlinks: FoundSymlink[];
  readonly folders: FoundFolder[];
  encoded: DirectoryBlob | undefined;
  /** How many levels are below; the same for equal directories, and less than any parent's. */
  height: number;
}

/**
 * Reads a folder into canonical Directory messages (DIR-03, DIR-04): links are kept as they are and
 * never followed, and a file is executable when its owner may execute it (RES-04). Fails with
 * INVALID_ARGUMENT, naming the path, for a name that is not UTF-8, a special file that is refused, and
 * a folder beyond a limit.
 */
export async function scanFolder(
  folder: string,
  digestFunction: DigestFunction,
  options: ScanOptions,
  signal: AbortSignal,
  left: ScanBudget = { entries: options.entriesMax, bytes: options.bytesMax },
): Promise<ScannedFolder> {
  const folders = await findAll(folder, options, left, signal);
  const files = folders.flatMap((found) => found.files);
  const hash = async (file: FoundFile, either: AbortSignal) => {
    file.digest = await digestOfFile(file.path, digestFunction, either, options.opening);
  };
  await concurrently(files, options.readsMax, hash, signal);
  const directories = encodeAll(folders, digestFunction, options.nodeProperties);
  const blobs = files.map(({ digest, path }) => ({ digest: known(digest), path }));
  return {
    root: known(folders[0]?.encoded).digest,
    directories,
    files: blobs,
    totals: {
      files: files.length,
      directories: folders.length,
      symlinks: folders.reduce((sum, { symlinks }) => sum + symlinks.length, 0),
      bytes: blobs.reduce((sum, { digest }) => sum + digest.sizeBytes, 0),
    },
  };
}

/** Every folder below `root`, itself first, a parent before its children. */
async function findAll(
  root: string,
  options: ScanOptions,
  left: ScanBudget,
  signal: AbortSignal,
): Promise<FoundFolder[]> {
  const stats = await lstat(root, { bigint: true });
  if (!stats.isDirectory()) {
    throw new StatusError(Code.INVALID_ARGUMENT, `${root} is not a folder`);
  }
  const folders = [newFolder('', root, 0, stats)];
  for (const folder of folders) {
    if (folder.depth > options.depthMax) {
      throw tooLarge(root, `more than ${options.depthMax} levels`);
    }
    for await (const { via, entries } of entriesIn(folder.path, options.opening)) {
      signal.throwIfAborted();
      left.entries -= entries.length;
      if (left.entries < 0) throw tooLarge(root, `more than ${options.entriesMax} entries`);
      for (const { name } of entries) left.bytes -= await addEntry(folder, via, name, options);
      if (left.bytes < 0) throw tooLarge(root, `more than ${options.bytesMax} bytes`);
    }
    for (const list of [folder.files, folder.symlinks, folder.folders]) {
      list.sort((a, b) => compareNames(a.name, b.name));
    }
    for (const child of folder.folders) folders.push(child);
  }
  return folders;
}

/** Puts one entry, seen under `via`, where it belongs; how many bytes there are to read. */
async function addEntry(
  folder: FoundFolder,
  via: string,
  entry: Buffer,
  options: ScanOptions,
): Promise<number> {
  const name = textOf(entry, `a name in ${folder.path}`);
  const path = `${folder.path}/${name}`;
  const stats = await lstat(`${via}/${name}`, { bigint: true });
  options.admit(path, stats);
  if (stats.isDirectory()) {
    folder.folders.push(newFolder(name, path, folder.depth + 1, stats));
  } else if (stats.isFile()) {
    folder.files.push({ name, path, stats, digest: undefined });
    return Number(stats.size);
  } else if (stats.isSymbolicLink()) {
    const target = await readlink(`${via}/${name}`, { encoding: 'buffer' });
    folder.symlinks.push({ name, target: textOf(target, `the target of ${path}`), stats });
  } else if (options.specialFiles === 'refuse') {
    throw new StatusError(
      Code.INVALID_ARGUMENT,
      `${path} is a socket, FIFO or device, which cannot be stored`,
    );
  }
  return 0;
}

/** Encodes children before parents, and gives each distinct directory once, parents first. */
function encodeAll(
  folders: readonly FoundFolder[],
  digestFunction: DigestFunction,
  names: ReadonlySet<NodePropertyName>,
): DirectoryBlob[] {
  const distinct = new Map<string, FoundFolder>();
  for (const folder of folders.toReversed()) {
    const bytes = Directory.encode(messageOf(folder, names)).finish();
    folder.encoded = { digest: Digest.ofBytes(digestFunction, bytes), bytes };
    folder.height = folder.folders.reduce((most, { height }) => Math.max(most, height + 1), 0);
    distinct.delete(folder.encoded.digest.key);
    distinct.set(folder.encoded.digest.key, folder);
  }
  return [...distinct.values()]
    .toReversed()
    .toSorted((a, b) => b.height - a.height)
    .map(({ encoded }) => known(encoded));
}

function messageOf(folder: FoundFolder, names: ReadonlySet<NodePropertyName>): Directory {
  return {
    files: folder.files.map(({ name, digest, stats }) => ({
      name,
      digest: known(digest).toMessage(),
      isExecutable: (stats.mode & 0o100n) !== 0n,
      nodeProperties: nodePropertiesOf(stats, names),
    })),
    directories: folder.folders.map(({ name, encoded }) => ({
      name,
      digest: known(encoded).digest.toMessage(),
    })),
    symlinks: folder.symlinks.map(({ name, target, stats }) => ({
      name,
      target,
      nodeProperties: nodePropertiesOf(stats, names),
    })),
    nodeProperties: nodePropertiesOf(folder.stats, names),
  };
}

function newFolder(name: string, path: string, depth: number, stats: BigIntStats): FoundFolder {
  const lists = { files: [], symlinks: [], folders: [] };
  return { name, path, depth, stats, ...lists, encoded: undefined, height: 0 };
}

function tooLarge(root: string, why: string): StatusError {
  return new StatusError(Code.INVALID_ARGUMENT, `folder ${root} brings ${why}, the limit here`);
}

function known<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a folder was encoded before what it holds');
  return value;
}
