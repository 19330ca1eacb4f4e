import type { NewId } from '../base/id.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import { Digest } from '../digest/digest.ts';
import type {
  ActionResult,
  OutputDirectory,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  type DownloadEntry,
  downloadEntries,
  type DownloadProgress,
} from '../tree/download-entries.ts';
import { entriesOfDirectory, entriesOfTree } from '../tree/download-tree.ts';

/**
 * Makes an action's outputs in `folder`: files with their executable bit, directories from either form,
 * symlinks of either generation, in whatever order they came (CLI-14). See `downloadEntries` for what
 * is refused.
 */
export async function downloadOutputs(
  result: ActionResult,
  digestFunction: DigestFunction,
  folder: string,
  { blobs, newId }: { readonly blobs: BlobStore; readonly newId: NewId },
  signal: AbortSignal,
  onProgress?: (progress: DownloadProgress) => void,
): Promise<DownloadProgress> {
  const entries: DownloadEntry[] = [];
  for (const { path, digest, isExecutable, contents } of result.outputFiles) {
    const checked = Digest.fromMessage(digestFunction, digest, `digest of output ${path}`);
    entries.push({ kind: 'file', path, digest: checked, isExecutable, contents });
  }
  for (const directory of result.outputDirectories) {
    for (const entry of await entriesOf(directory, digestFunction, blobs, signal)) {
      entries.push(entry);
    }
  }
  const { outputSymlinks, outputFileSymlinks, outputDirectorySymlinks } = result;
  for (const symlinks of [outputFileSymlinks, outputDirectorySymlinks, outputSymlinks]) {
    for (const { path, target } of symlinks) entries.push({ kind: 'symlink', path, target });
  }
  return downloadEntries(folder, entries, blobs, newId, signal, onProgress);
}

function entriesOf(
  { path, treeDigest, rootDirectoryDigest }: OutputDirectory,
  digestFunction: DigestFunction,
  blobs: BlobStore,
  signal: AbortSignal,
): Promise<DownloadEntry[]> {
  if (treeDigest === undefined && rootDirectoryDigest !== undefined) {
    const field = `root_directory_digest of output ${path}`;
    const root = Digest.fromMessage(digestFunction, rootDirectoryDigest, field);
    return entriesOfDirectory(root, path, blobs, signal);
  }
  const tree = Digest.fromMessage(digestFunction, treeDigest, `tree_digest of output ${path}`);
  return entriesOfTree(tree, path, blobs, signal);
}
