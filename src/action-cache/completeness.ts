import { collect } from '../base/chunks.ts';
import { holdMemory } from '../base/memory.ts';
import { Code, StatusError } from '../base/status.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import type { Digest } from '../digest/digest.ts';
import { missingBlobs } from '../tree/missing-blobs.ts';
import { type ParsedTree, parseTree } from '../tree/tree-message.ts';
import { type TreeLimits, walkDirectories } from '../tree/walk-directories.ts';
import type { ActionCache } from './action-cache.ts';
import type { KnownTrees } from './known-trees.ts';
import { referencesOf } from './result-references.ts';

export interface CompletenessOptions {
  /** Limits for output trees; a result with a larger one is a miss. */
  readonly treeLimits: TreeLimits;
  /** May be shared by instances: what a tree holds depends on its digest alone. */
  readonly knownTrees: KnownTrees;
}

/**
 * An action cache of one instance that speaks only of results whose every blob is in `blobs`: `find`
 * gives nothing when an output, or a file or directory in an output tree, is gone (AC-02), and makes all
 * of them count as used (AC-03). A stored result that is malformed is a miss, too. `update` fails with
 * FAILED_PRECONDITION when a blob the result names itself is absent (AC-14).
 */
export function withCompleteness(
  base: ActionCache,
  blobs: BlobStore,
  options: CompletenessOptions,
): ActionCache {
  const filesOfTree = async (tree: Digest, signal: AbortSignal): Promise<readonly Digest[]> => {
    const known = options.knownTrees.find(tree);
    if (known) return known;
    if (tree.sizeBytes > options.treeLimits.bytesMax) throw new Incomplete();
    holdMemory(tree.sizeBytes);
    const parsed = parseTree(await collect(blobs.read(tree, 0, signal)), tree);
    const files = reachableFiles(parsed);
    options.knownTrees.add(tree, files);
    return files;
  };

  const blobsOfDirectory = async (root: Digest, signal: AbortSignal): Promise<Digest[]> => {
    const walked = await walkDirectories(root, blobs, { limits: options.treeLimits }, signal);
    if (walked.missing.length > 0) throw new Incomplete();
    return [...walked.directories.values().map(({ digest }) => digest), ...walked.files.values()];
  };

  const requireAll = async (digests: readonly Digest[], signal: AbortSignal) => {
    if (digests.length === 0) return;
    const missing = await blobs.findMissing(digests, signal);
    if (missing.length > 0) throw new Incomplete();
  };

  return {
    find: async (action, signal) => {
      const result = await base.find(action, signal);
      if (!result) return undefined;
      try {
        const { all, trees, rootDirectories } = referencesOf(result, action.function);
        await requireAll(all, signal);
        const deep: Digest[] = [];
        for (const tree of trees) append(deep, await filesOfTree(tree, signal));
        for (const root of rootDirectories) append(deep, await blobsOfDirectory(root, signal));
        await requireAll(deep, signal);
        return result;
      } catch (error) {
        if (isMiss(error)) return undefined;
        throw error;
      }
    },
    update: async (action, result, signal) => {
      const { all } = referencesOf(result, action.function);
      const missing = await blobs.findMissing(all, signal);
      if (missing.length > 0) throw missingBlobs(missing);
      await base.update(action, result, signal);
    },
  };
}

/** Something a result needs is not there; never leaves this file. */
class Incomplete extends Error {}

/** NOT_FOUND: evicted since it was asked for. INVALID_ARGUMENT: it is not what the result says it is. */
function isMiss(error: unknown): boolean {
  if (error instanceof Incomplete) return true;
  if (!(error instanceof StatusError)) return false;
  return error.code === Code.NOT_FOUND || error.code === Code.INVALID_ARGUMENT;
}

/** The files below the root; children that nothing refers to do not count (DIR-20). */
function reachableFiles(tree: ParsedTree): readonly Digest[] {
  const files = new Map<string, Digest>();
  const seen = new Set<string>();
  const open = [tree.root];
  for (let directory = open.pop(); directory; directory = open.pop()) {
    for (const { digest } of directory.files) files.set(digest.key, digest);
    for (const { digest } of directory.directories) {
      const { key } = digest;
      if (seen.has(key)) continue;
      seen.add(key);
      const child = tree.children.get(key);
      if (child) open.push(child);
      // The empty directory is always there, even where a producer left it out (DIR-12).
      else if (digest.sizeBytes > 0) throw new Incomplete();
    }
  }
  return [...files.values()];
}

/** `push(...items)` overflows the stack with a hundred thousand files. */
function append(digests: Digest[], more: readonly Digest[]): void {
  for (const digest of more) digests.push(digest);
}
