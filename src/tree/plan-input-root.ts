import type { BlobStore } from '../cas/blob-store.ts';
import type { Digest } from '../digest/digest.ts';
import type { DirectoryCache } from './directory-cache.ts';
import type { ParsedDirectory, ParsedFile } from './directory.ts';
import type { FolderUse, InputFolders, TakenFolder } from './input-folders.ts';
import { missingBlobs } from './missing-blobs.ts';
import { type TreeLimits, type WalkedTree, walkDirectories } from './walk-directories.ts';
import type { WrittenFolder } from './written-folder.ts';

/** With hard links, files share their inode with the file cache: commands cannot change them (WRK-03). */
export interface PlanOptions extends FolderUse {
  readonly limits: TreeLimits;
  readonly directories: DirectoryCache;
  /** Directories that need not be made; undefined where none are kept. */
  readonly folders?: InputFolders | undefined;
}

/** A directory of the input root, a parent before its children. */
export interface Planned {
  readonly path: string;
  readonly digest: Digest;
  readonly parsed: ParsedDirectory;
  /** What is there already, to be put in place; else it is made. */
  readonly taken: TakenFolder | undefined;
  /** None below what is taken. */
  readonly below: Planned[];
  /** Its files that became hard links. */
  readonly linked: Set<ParsedFile>;
  written: WrittenFolder | undefined;
}

/** Digests per findMissing, far below a message's 4 MiB. */
const digestsPerCallMax = 10_000;

/**
 * What there is to make for an input root at `rootPath`, and what to take. FAILED_PRECONDITION when
 * directories are missing; it names the files too that are known to be.
 */
export async function planInputRoot(
  root: Digest,
  rootPath: string,
  blobs: BlobStore,
  options: PlanOptions,
  signal: AbortSignal,
): Promise<Planned[]> {
  const { limits, directories: cache, folders } = options;
  const whole = await folders?.take(root, options);
  if (whole) return [newPlanned(rootPath, root, whole.written.parsed, whole)];
  const tree = await walkDirectories(root, blobs, { limits, cache }, signal);
  if (tree.missing.length > 0) {
    throw missingBlobs([...tree.missing, ...(await missingFiles(tree, blobs, signal))]);
  }
  const parsedOf = (digest: Digest) => {
    const found = tree.directories.get(digest.key);
    if (!found) throw new Error(`directory ${digest} is in no list of the walk`);
    return found.parsed;
  };
  const planned = [newPlanned(rootPath, root, parsedOf(root), undefined)];
  try {
    for (const { path, parsed, taken, below } of planned) {
      for (const { name, digest } of taken ? [] : parsed.directories) {
        signal.throwIfAborted();
        const found = await folders?.take(digest, options);
        const child = newPlanned(`${path}/${name}`, digest, parsedOf(digest), found);
        below.push(child);
        planned.push(child);
      }
    }
  } catch (error) {
    putAllBack(planned, options);
    throw error;
  }
  return planned;
}

/** For what is not to be made after all: nobody else could find what was taken for it. */
export function putAllBack(planned: readonly Planned[], options: PlanOptions): void {
  for (const { taken } of planned) if (taken) options.folders?.putBack(taken, options);
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

function newPlanned(
  path: string,
  digest: Digest,
  parsed: ParsedDirectory,
  taken: TakenFolder | undefined,
): Planned {
  return { path, digest, parsed, taken, below: [], linked: new Set(), written: undefined };
}
