import { Code, StatusError } from '../base/status.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import type { Digest } from '../digest/digest.ts';
import { resolveInRoot } from '../tree/output-path.ts';
import { type WalkedTree, walkDirectories } from '../tree/walk-directories.ts';
import type { DirectoryCache } from '../tree/directory-cache.ts';
import type { ExecutionOptions } from './execution-options.ts';

/**
 * The blobs of an input tree that are missing, all of them that can be known (EXE-53); those that are
 * there count as used. Fails with INVALID_ARGUMENT when the tree is malformed or too large, or, if it is
 * whole, has no directory at `workingDirectory` (ACT-23).
 */
export async function findMissingInputs(
  root: Digest,
  workingDirectory: string | undefined,
  blobs: BlobStore,
  cache: DirectoryCache,
  options: Pick<ExecutionOptions, 'treeLimits' | 'absoluteSymlinks'>,
  signal: AbortSignal,
): Promise<readonly Digest[]> {
  const tree = await walkDirectories(root, blobs, { limits: options.treeLimits, cache }, signal);
  if (options.absoluteSymlinks === 'disallowed') refuseAbsoluteSymlinks(tree);
  const known = [...tree.directories.values().map(({ digest }) => digest), ...tree.files.values()];
  const missing = [...tree.missing, ...(await blobs.findMissing(known, signal))];
  if (missing.length === 0 && workingDirectory !== undefined) {
    checkWorkingDirectory(root, workingDirectory, tree);
  }
  return missing;
}

function refuseAbsoluteSymlinks({ directories }: WalkedTree): void {
  for (const { digest, parsed } of directories.values()) {
    const absolute = parsed.symlinks.find(({ target }) => target.startsWith('/'));
    if (!absolute) continue;
    throw new StatusError(
      Code.INVALID_ARGUMENT,
      `symlink ${JSON.stringify(absolute.name.slice(0, 200))} in directory ${digest} has an absolute ` +
        'target, which is not allowed here',
    );
  }
}

/** Symlinks on the way are refused with everything else that is no directory (ACT-24). */
function checkWorkingDirectory(root: Digest, workingDirectory: string, tree: WalkedTree): void {
  let at = tree.directories.get(root.key);
  for (const segment of (resolveInRoot('', workingDirectory) ?? '').split('/')) {
    if (segment === '') continue;
    const child = at?.parsed.directories.find(({ name }) => name === segment);
    at = child && tree.directories.get(child.digest.key);
  }
  if (at) return;
  throw new StatusError(
    Code.INVALID_ARGUMENT,
    `the working directory ${JSON.stringify(workingDirectory.slice(0, 200))} is no directory of the ` +
      `input root ${root}`,
  );
}
