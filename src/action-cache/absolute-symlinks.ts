import { collect } from '../base/chunks.ts';
import { Code, StatusError } from '../base/status.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import type { Digest } from '../digest/digest.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import type { ActionResult } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { ParsedDirectory } from '../tree/directory.ts';
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
}

/**
 * A symlink of a result that has an absolute target, in words for an error: one of its outputs, or one
 * inside of an output directory (RES-21, AC-22). Undefined when there is none; what is not stored of an
 * output directory without a Tree is passed over. Fails with NOT_FOUND when a Tree is not stored, and
 * with INVALID_ARGUMENT when an output directory is malformed or too large.
 */
export async function findAbsoluteSymlink(
  result: ActionResult,
  { digestFunction, blobs, treeLimits }: SymlinkSearch,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { outputSymlinks, outputFileSymlinks, outputDirectorySymlinks } = result;
  const outputs = [...outputSymlinks, ...outputFileSymlinks, ...outputDirectorySymlinks];
  const output = outputs.find(({ target }) => isAbsolute(target));
  if (output) return `output ${quoted(output.path)}, a symlink to ${quoted(output.target)},`;
  const { trees, rootDirectories } = referencesOf(result, digestFunction);
  for (const tree of trees) {
    if (tree.sizeBytes > treeLimits.bytesMax) throw tooLarge(tree, treeLimits.bytesMax);
    const { root, children } = parseTree(await collect(blobs.read(tree, 0, signal)), tree);
    const found = symlinkIn([root, ...children.values()]);
    if (found !== undefined) return `${found} in output tree ${tree}`;
  }
  for (const root of rootDirectories) {
    const walked = await walkDirectories(root, blobs, { limits: treeLimits }, signal);
    const found = symlinkIn(walked.directories.values().map(({ parsed }) => parsed));
    if (found !== undefined) return `${found} in output directory ${root}`;
  }
  return undefined;
}

function symlinkIn(directories: Iterable<ParsedDirectory>): string | undefined {
  for (const { symlinks } of directories) {
    const found = symlinks.find(({ target }) => isAbsolute(target));
    if (found) return `symlink ${quoted(found.name)} to ${quoted(found.target)}`;
  }
  return undefined;
}

function isAbsolute(target: string): boolean {
  return target.startsWith('/');
}

function tooLarge(tree: Digest, bytesMax: number): StatusError {
  return new StatusError(
    Code.INVALID_ARGUMENT,
    `output tree ${tree} has more than ${bytesMax} bytes, the limit where symlinks are looked at`,
  );
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 200));
}
