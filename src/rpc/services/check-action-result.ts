import { findAbsoluteSymlink } from '../../action-cache/absolute-symlinks.ts';
import { referencesOf } from '../../action-cache/result-references.ts';
import { quoted } from '../../base/quoted.ts';
import { Code, StatusError } from '../../base/status.ts';
import type { BlobStore } from '../../cas/blob-store.ts';
import type { DigestFunction } from '../../digest/digest-function.ts';
import type { Digest } from '../../digest/digest.ts';
import { defaultExecutionOptions } from '../../execution/execution-options.ts';
import type { ActionResult } from '../../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { findAction, findCommand } from '../../tree/find-action.ts';
import { depthFrom } from '../../tree/output-path.ts';
import { defaultTreeLimits } from '../../tree/walk-directories.ts';

/**
 * Refuses a result that no client could bring to a disk: digests of another function, paths that are
 * absolute, too long, have an empty segment or are two things at once, symlinks without a target (AC-22). `..`
 * may occur: outputs are relative to the working directory. Contents sent along may stand in for a digest
 * (AC-17).
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
  checkOnce(result);
}

/**
 * Refuses a result with a path that leaves the input root (AC-22). Only where it goes up does it matter
 * which the working directory is.
 */
export async function refuseOutsidePaths(
  { outputFiles, outputDirectories, ...links }: ActionResult,
  action: Digest,
  blobs: BlobStore,
  signal: AbortSignal,
): Promise<void> {
  const symlinks = [links.outputSymlinks, links.outputFileSymlinks, links.outputDirectorySymlinks];
  const paths = [outputFiles, outputDirectories, ...symlinks].flat().map(({ path }) => path);
  const upwards = paths.filter((path) => path.split('/').includes('..'));
  if (upwards.length === 0) return;
  const workingDirectory = await workingDirectoryOf(action, blobs, signal);
  const depth = depthFrom(0, workingDirectory);
  const outside = upwards.find(
    (path) => depth === undefined || depthFrom(depth, path) === undefined,
  );
  if (outside === undefined) return;
  throw invalid(
    `output path ${quoted(outside)} leaves the input root, as seen from ${quoted(workingDirectory)}, the ` +
      `working directory of action ${action} as far as it is stored here`,
  );
}

/**
 * Refuses a result with a symlink to an absolute path or out of the input root, in an output directory
 * too (AC-22). Blobs that are missing are left for the action cache to tell (AC-14).
 */
export async function refuseAbsoluteSymlinks(
  result: ActionResult,
  action: Digest,
  blobs: BlobStore,
  signal: AbortSignal,
): Promise<void> {
  const workingDirectory = await workingDirectoryOf(action, blobs, signal);
  const digestFunction = action.function;
  const search = { digestFunction, blobs, treeLimits: defaultTreeLimits, workingDirectory };
  const found = await findAbsoluteSymlink(result, search, signal).catch((error: unknown) => {
    if (StatusError.from(error).code === Code.NOT_FOUND) return undefined;
    throw error;
  });
  if (found === undefined) return;
  throw invalid(`${found} has a target outside of the input root, which is not allowed here`);
}

/**
 * Where the action's command runs, from its input root; `''`, the input root itself, when that is not to
 * be found out: clients need not upload the action, and what moon uploads is none (AC-12, MOO-02).
 */
async function workingDirectoryOf(
  action: Digest,
  blobs: BlobStore,
  signal: AbortSignal,
): Promise<string> {
  const { actionSizeBytesMax, commandSizeBytesMax } = defaultExecutionOptions;
  try {
    const found = await findAction(action, blobs, actionSizeBytesMax, signal);
    const command = found && (await findCommand(found.command, blobs, commandSizeBytesMax, signal));
    return command?.workingDirectory ?? '';
  } catch (error) {
    if (StatusError.from(error).code === Code.INVALID_ARGUMENT) return '';
    throw error;
  }
}

/** Each path is one thing, once; but a symlink is listed for each of two generations of clients (RES-07). */
function checkOnce({
  outputFiles,
  outputDirectories,
  outputSymlinks,
  ...older
}: ActionResult): void {
  const olderSymlinks = [...older.outputFileSymlinks, ...older.outputDirectorySymlinks];
  const listed = new Set<string>();
  const add = (path: string) => {
    if (listed.has(path)) throw invalid(`output path ${quoted(path)} is listed twice`);
    listed.add(path);
  };
  for (const { path } of [outputFiles, outputDirectories, olderSymlinks].flat()) add(path);
  const targets = new Map(olderSymlinks.map(({ path, target }) => [path, target]));
  for (const { path, target } of outputSymlinks) {
    if (targets.get(path) === target) targets.delete(path);
    else add(path);
  }
}

function checkPath(path: string): void {
  if (path.length > defaultTreeLimits.pathBytesMax) {
    throw invalid(
      `output path ${quoted(path)} has more than ${defaultTreeLimits.pathBytesMax} bytes`,
    );
  }
  // A leading slash makes an empty segment, too.
  if (path.split('/').includes('')) {
    throw invalid(`output path ${quoted(path)} is absolute or has an empty segment`);
  }
  if (path.includes('\0')) throw invalid(`output path ${quoted(path)} has a NUL`);
}

function invalid(message: string): StatusError {
  return new StatusError(Code.INVALID_ARGUMENT, message);
}
