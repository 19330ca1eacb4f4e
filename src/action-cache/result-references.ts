import { quoted } from '../base/quoted.ts';
import { Code, StatusError } from '../base/status.ts';
import { Digest } from '../digest/digest.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import type { ActionResult } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';

/** The blobs an action result names itself. */
export interface ResultReferences {
  /** All of them, the trees and root directories below included. */
  readonly all: readonly Digest[];
  /** Tree messages of output directories. */
  readonly trees: readonly Digest[];
  /** Root Directory messages of output directories. */
  readonly rootDirectories: readonly Digest[];
}

/**
 * Fails with INVALID_ARGUMENT when a digest is not well-formed under the action's digest function
 * (DIG-12), or an output file or directory has none (DIG-19).
 */
export function referencesOf(
  result: ActionResult,
  digestFunction: DigestFunction,
): ResultReferences {
  const all: Digest[] = [];
  const trees: Digest[] = [];
  const rootDirectories: Digest[] = [];
  const digestOf = (message: ActionResult['stdoutDigest'], field: string) => {
    const digest = Digest.fromMessage(digestFunction, message, field);
    all.push(digest);
    return digest;
  };
  for (const { path, digest } of result.outputFiles) digestOf(digest, `digest of ${quoted(path)}`);
  for (const { path, treeDigest, rootDirectoryDigest } of result.outputDirectories) {
    if (treeDigest) trees.push(digestOf(treeDigest, `tree_digest of ${quoted(path)}`));
    if (rootDirectoryDigest) {
      const field = `root_directory_digest of ${quoted(path)}`;
      rootDirectories.push(digestOf(rootDirectoryDigest, field));
    }
    if (!treeDigest && !rootDirectoryDigest) {
      throw new StatusError(
        Code.INVALID_ARGUMENT,
        `output directory ${quoted(path)} has no digest`,
      );
    }
  }
  if (result.stdoutDigest) digestOf(result.stdoutDigest, 'stdout_digest');
  if (result.stderrDigest) digestOf(result.stderrDigest, 'stderr_digest');
  return { all, trees, rootDirectories };
}
