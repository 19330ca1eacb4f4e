import { collect } from '../base/chunks.ts';
import { holdMemory } from '../base/memory.ts';
import { quoted } from '../base/quoted.ts';
import { Code, StatusError } from '../base/status.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import type { Digest } from '../digest/digest.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import { ActionResult } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { ParsedDirectory } from '../tree/directory.ts';
import { depthFrom } from '../tree/output-path.ts';
import { parseTree } from '../tree/tree-message.ts';
import { type TreeLimits, walkDirectories } from '../tree/walk-directories.ts';
import { referencesOf } from './result-references.ts';

/** Whether symlinks may have absolute targets, as the capabilities announce it (CAP-13). */
export type AbsoluteSymlinks = 'allowed' | 'disallowed';

export interface SymlinkSearch {
  readonly digestFunction: DigestFunction;
  /** Of the instance; the output directories are read from here. */
  readonly blobs: BlobStore;
  readonly treeLimits: TreeLimits;
  /**
   * Of the action. Where it is given, targets that lead out of the input root count as absolute: clients
   * make and follow them wherever they are.
   */
  readonly workingDirectory?: string;
}

/**
 * A symlink of a result that has an absolute target, in words for an error: one of its outputs, or one
 * inside of an output directory (RES-21, AC-22). Undefined when there is none. What is not stored of an
 * output directory without a Tree is passed over, and so is what nothing in a Tree refers to. Fails with
 * NOT_FOUND when a Tree is not stored, and with INVALID_ARGUMENT when an output directory is malformed or
 * too large.
 */
export async function findAbsoluteSymlink(
  result: ActionResult,
  { digestFunction, blobs, treeLimits, workingDirectory }: SymlinkSearch,
  signal: AbortSignal,
): Promise<string | undefined> {
  // Paths of outputs that are no place in the input root are refused elsewhere.
  const start = workingDirectory === undefined ? Infinity : depthFrom(0, workingDirectory);
  const depthOf = (path: string) => (start === undefined ? 0 : (depthFrom(start, path) ?? 0));
  const { outputSymlinks, outputFileSymlinks, outputDirectorySymlinks } = result;
  const outputs = [...outputSymlinks, ...outputFileSymlinks, ...outputDirectorySymlinks];
  const output = outputs.find(({ path, target }) => isOutside(target, depthOf(path) - 1));
  if (output) return `output ${quoted(output.path)}, a symlink to ${quoted(output.target)},`;
  for (const directory of result.outputDirectories) {
    const { trees, rootDirectories } = referencesOf(
      { ...noOutputs, outputDirectories: [directory] },
      digestFunction,
    );
    const depth = depthOf(directory.path);
    for (const tree of trees) {
      if (tree.sizeBytes > treeLimits.bytesMax) throw tooLarge(tree, treeLimits.bytesMax);
      holdMemory(tree.sizeBytes);
      const { root, children } = parseTree(await collect(blobs.read(tree, 0, signal)), tree);
      const found = symlinkBelow(root, depth, (key) => children.get(key));
      if (found !== undefined) return `${found} in output tree ${tree}`;
    }
    for (const root of rootDirectories) {
      const { directories } = await walkDirectories(root, blobs, { limits: treeLimits }, signal);
      const parsed = (key: string) => directories.get(key)?.parsed;
      const found = symlinkBelow(parsed(root.key), depth, parsed);
      if (found !== undefined) return `${found} in output directory ${root}`;
    }
  }
  return undefined;
}

const noOutputs = ActionResult.fromPartial({});

/** Level by level: a directory that is in several places counts where it is least deep. */
function symlinkBelow(
  root: ParsedDirectory | undefined,
  rootDepth: number,
  find: (key: string) => ParsedDirectory | undefined,
): string | undefined {
  const seen = new Set<ParsedDirectory>();
  let level = root ? [root] : [];
  for (let depth = rootDepth; level.length > 0; depth++) {
    const next: ParsedDirectory[] = [];
    for (const { symlinks, directories } of level) {
      const found = symlinks.find(({ target }) => isOutside(target, depth));
      if (found) return `symlink ${quoted(found.name)} to ${quoted(found.target)}`;
      for (const { digest } of directories) {
        const child = find(digest.key);
        if (!child || seen.has(child)) continue;
        seen.add(child);
        next.push(child);
      }
    }
    level = next;
  }
  return undefined;
}

/**
 * Whether a target is absolute, or leads further up than to the input root, even if it comes back, or is none
 * that a symlink can have.
 */
function isOutside(target: string, depth: number): boolean {
  return depthFrom(depth, target) === undefined;
}

function tooLarge(tree: Digest, bytesMax: number): StatusError {
  return new StatusError(
    Code.INVALID_ARGUMENT,
    `output tree ${tree} has more than ${bytesMax} bytes, the limit where symlinks are looked at`,
  );
}
