import { collect } from '../base/chunks.ts';
import { HeldMemory, holdMemory } from '../base/memory.ts';
import { Code, StatusError } from '../base/status.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import type { Digest } from '../digest/digest.ts';
import type { DirectoryCache } from './directory-cache.ts';
import { type ParsedDirectory, parseDirectory, TREE_MEMORY_BYTES_MAX } from './directory.ts';
import { checkExpandedTree, type Extent, type ExtentLimits } from './expanded-tree.ts';

/**
 * How large a tree may be (DIR-16). Larger ones are refused with INVALID_ARGUMENT. A directory counts each
 * time the tree has it: a few that share one another can stand for 2^30 files.
 */
export interface TreeLimits extends ExtentLimits {
  /** Encoded bytes of the different directories, which are held in memory together. */
  readonly bytesMax: number;
}

export const defaultTreeLimits: TreeLimits = {
  depthMax: 1000,
  // Ten times the largest input root that Bazel users speak of.
  nodesMax: 1_000_000,
  // What Linux and macOS file systems take.
  nameBytesMax: 255,
  // Linux takes 4095, of which a worker needs some for the folder it puts the tree into.
  pathBytesMax: 3839,
  bytesMax: 256 * 1024 * 1024,
};

/** What a tree is made of, each thing once. The maps are by `Digest.key`. */
export interface WalkedTree {
  readonly directories: ReadonlyMap<string, { digest: Digest; parsed: ParsedDirectory }>;
  /** Directories whose blobs are not in the store; what is below them is unknown. */
  readonly missing: readonly Digest[];
  readonly files: ReadonlyMap<string, Digest>;
  /** How large each directory is with all below it; one that is missing counts as empty. */
  readonly extents: ReadonlyMap<string, Extent>;
}

export interface WalkOptions {
  readonly limits: TreeLimits;
  readonly cache?: DirectoryCache | undefined;
  /**
   * The extent of a directory that is known well enough to be passed over, with all that is below it:
   * the walk then neither reads nor lists it.
   */
  readonly findKnown?: ((digest: Digest) => Extent | undefined) | undefined;
}

export interface StoredDirectory {
  readonly digest: Digest;
  readonly bytes: Uint8Array;
  readonly parsed: ParsedDirectory;
}

/** A digest in the maps of a walk, and its key. */
const BYTES_PER_DIGEST = 300;

/** Reads at once: enough to hide a store's latency, few enough to leave it to others. */
const READS_AT_ONCE = 16;

/**
 * Everything below `root`: each different directory is read once, however often the tree has it
 * (CAS-48, DIR-17). A directory that is in `cache` is not read, so whether its blob is still stored is
 * for the caller to ask. Fails with INVALID_ARGUMENT when a directory is malformed or the tree exceeds
 * the limits.
 */
export async function walkDirectories(
  root: Digest,
  blobs: BlobStore,
  options: WalkOptions,
  signal: AbortSignal,
): Promise<WalkedTree> {
  const { limits, cache, findKnown } = options;
  const directories = new Map<string, { digest: Digest; parsed: ParsedDirectory }>();
  const missing: Digest[] = [];
  const files = new Map<string, Digest>();
  const known = new Map<string, Extent>();
  const load = async (digest: Digest) => {
    const extent = findKnown?.(digest);
    if (extent) {
      known.set(digest.key, extent);
      return undefined;
    }
    const cached = cache?.find(digest);
    if (cached) return { digest, parsed: cached };
    const stored = await findDirectory(digest, blobs, signal);
    if (!stored) return undefined;
    const { parsed } = stored;
    cache?.add(digest, parsed);
    // Its bytes are counted already.
    holdMemory(parsed.memoryBytes - digest.sizeBytes);
    return { digest, parsed };
  };
  const maps = new HeldMemory();
  let memoryBytes = 0;
  try {
    for await (const visited of visit(root, load, limits, signal)) {
      if (!visited.found) {
        if (!known.has(visited.digest.key)) missing.push(visited.digest);
        continue;
      }
      const { parsed } = visited.found;
      const mapsBytes = (1 + parsed.files.length + parsed.directories.length) * BYTES_PER_DIGEST;
      memoryBytes += parsed.memoryBytes + mapsBytes;
      if (memoryBytes > TREE_MEMORY_BYTES_MAX) {
        throw tooLarge(root, `takes more than ${TREE_MEMORY_BYTES_MAX} bytes of memory`);
      }
      maps.add(mapsBytes);
      directories.set(visited.digest.key, visited.found);
      for (const file of parsed.files) files.set(file.digest.key, file.digest);
    }
    const extents = checkExpandedTree(root, directories, limits, known);
    return { directories, missing, files, extents };
  } finally {
    maps.close();
  }
}

/**
 * The directories of a stored tree as they were stored, each once, the root first and always in the same
 * order, so that a listing can be taken up again (CAS-45). Fails with NOT_FOUND when the root is absent
 * (CAS-41), with INVALID_ARGUMENT when a directory is malformed (CAS-49); one that is absent below the
 * root is left out with what only it leads to (CAS-42).
 */
export async function* readTree(
  root: Digest,
  blobs: BlobStore,
  limits: TreeLimits,
  signal: AbortSignal,
): AsyncGenerator<StoredDirectory, void, undefined> {
  const [batch, seen] = [new HeldMemory(), new HeldMemory()];
  const load = async (digest: Digest) => {
    const found = await findDirectory(digest, blobs, signal);
    if (found) batch.add(digest.sizeBytes + found.parsed.memoryBytes);
    return found;
  };
  try {
    for await (const { digest, found } of visit(root, load, limits, signal, () =>
      batch.release(),
    )) {
      if (found) {
        seen.add(found.parsed.directories.length * BYTES_PER_DIGEST);
        yield found;
      } else if (digest === root) {
        throw new StatusError(Code.NOT_FOUND, `the root directory ${root} is not in the CAS`);
      }
    }
  } finally {
    batch.close();
    seen.close();
  }
}

/** Breadth-first over the different directories: an explicit queue, as trees are as deep as they like. */
async function* visit<Found extends { readonly parsed: ParsedDirectory }>(
  root: Digest,
  load: (digest: Digest) => Promise<Found | undefined>,
  limits: TreeLimits,
  signal: AbortSignal,
  onBatchTaken = () => {},
): AsyncGenerator<{ digest: Digest; found: Found | undefined }, void, undefined> {
  const seen = new Set([root.key]);
  let bytesTotal = root.sizeBytes;
  let level: Digest[] = [root];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > limits.depthMax) {
      throw tooLarge(root, `has directories more than ${limits.depthMax} deep`);
    }
    const below: Digest[] = [];
    for (let at = 0; at < level.length; at += READS_AT_ONCE) {
      signal.throwIfAborted();
      if (bytesTotal > limits.bytesMax) {
        throw tooLarge(root, `has more than ${limits.bytesMax} bytes of directories`);
      }
      onBatchTaken();
      const batch = level.slice(at, at + READS_AT_ONCE);
      const loaded = await Promise.all(batch.map((digest) => load(digest)));
      for (const [index, found] of loaded.entries()) {
        yield { digest: batch[index] as Digest, found };
        for (const child of found?.parsed.directories ?? []) {
          const { key } = child.digest;
          if (seen.has(key)) continue;
          seen.add(key);
          bytesTotal += child.digest.sizeBytes;
          below.push(child.digest);
        }
      }
    }
    level = below;
  }
}

/** The directory stored under `digest`; undefined when it is absent, INVALID_ARGUMENT when malformed. */
export async function findDirectory(
  digest: Digest,
  blobs: BlobStore,
  signal: AbortSignal,
): Promise<StoredDirectory | undefined> {
  try {
    holdMemory(digest.sizeBytes);
    const bytes = await collect(blobs.read(digest, 0, signal));
    return { digest, bytes, parsed: parseDirectory(bytes, digest) };
  } catch (error) {
    if (error instanceof StatusError && error.code === Code.NOT_FOUND) return undefined;
    throw error;
  }
}

function tooLarge(root: Digest, how: string): StatusError {
  return new StatusError(Code.INVALID_ARGUMENT, `the tree ${root} ${how}, the limit here`);
}
