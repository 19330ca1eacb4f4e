import { findAbsoluteSymlink } from '../../action-cache/absolute-symlinks.ts';
import { referencesOf } from '../../action-cache/result-references.ts';
import { Code, StatusError } from '../../base/status.ts';
import type { BlobStore } from '../../cas/blob-store.ts';
import type { DigestFunction } from '../../digest/digest-function.ts';
import type { ActionResult } from '../../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { defaultTreeLimits } from '../../tree/walk-directories.ts';

/**
 * Refuses a result that no client could bring to a disk: digests of another function, paths that are
 * absolute or have an empty segment, symlinks without a target (AC-22). `..` may occur: outputs are
 * relative to the working directory. Contents sent along may stand in for a digest (AC-17).
 */
export function checkActionResult(result: ActionResult, digestFunction: DigestFunction): void {
  const { outputFiles } = result;
  referencesOf(
    {
      ...result,
      outputFiles: outputFiles.filter(({ digest, contents }) => digest || contents.length === 0),
    },
    digestFunction,
  );
  for (const { path } of outputFiles) checkPath(path);
  // The working directory itself may be an output directory: its path is empty.
  for (const { path } of result.outputDirectories) if (path !== '') checkPath(path);
  const symlinks = [
    ...result.outputSymlinks,
    ...result.outputFileSymlinks,
    ...result.outputDirectorySymlinks,
  ];
  for (const { path, target } of symlinks) {
    checkPath(path);
    if (target === '' || target.includes('\0')) {
      throw invalid(`output symlink ${quoted(path)} has the target ${quoted(target)}`);
    }
  }
}

/**
 * Refuses a result with a symlink to an absolute path, in an output directory too (AC-22). Blobs that
 * are missing are left for the action cache to tell (AC-14).
 */
export async function refuseAbsoluteSymlinks(
  result: ActionResult,
  digestFunction: DigestFunction,
  blobs: BlobStore,
  signal: AbortSignal,
): Promise<void> {
  const search = { digestFunction, blobs, treeLimits: defaultTreeLimits };
  const found = await findAbsoluteSymlink(result, search, signal).catch((error: unknown) => {
    if (StatusError.from(error).code === Code.NOT_FOUND) return undefined;
    throw error;
  });
  if (found === undefined) return;
  throw invalid(`${found} has an absolute target, which is not allowed here`);
}

function checkPath(path: string): void {
  // A leading slash makes an empty segment, too.
  if (path.split('/').includes('')) {
    throw invalid(`output path ${quoted(path)} is absolute or has an empty segment`);
  }
  if (path.includes('\0')) throw invalid(`output path ${quoted(path)} has a NUL`);
}

function invalid(message: string): StatusError {
  return new StatusError(Code.INVALID_ARGUMENT, message);
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 200));
}
