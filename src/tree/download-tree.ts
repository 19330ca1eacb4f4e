import { collect } from '../base/chunks.ts';
import { Code, StatusError } from '../base/status.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import type { Digest } from '../digest/digest.ts';
import type { ParsedDirectory } from './directory.ts';
import type { DownloadEntry } from './download-entries.ts';
import { checkExpandedTree } from './expanded-tree.ts';
import { parseTree } from './tree-message.ts';
import { defaultTreeLimits, walkDirectories } from './walk-directories.ts';

type Directories = ReadonlyMap<string, { readonly parsed: ParsedDirectory }>;

/** What a stored Tree message stands for, to be made at `path`. */
export async function entriesOfTree(
  tree: Digest,
  path: string,
  blobs: BlobStore,
  signal: AbortSignal,
): Promise<DownloadEntry[]> {
  if (tree.sizeBytes > defaultTreeLimits.bytesMax) {
    throw new StatusError(
      Code.RESOURCE_EXHAUSTED,
      `tree ${tree} is larger than ${defaultTreeLimits.bytesMax} bytes, the limit here`,
    );
  }
  const { root, rootDigest, children } = parseTree(
    await collect(blobs.read(tree, 0, signal)),
    tree,
  );
  const directories = new Map([...children].map(([key, parsed]) => [key, { parsed }]));
  directories.set(rootDigest.key, { parsed: root });
  checkExpandedTree(rootDigest, directories, defaultTreeLimits);
  return entriesBelow(rootDigest, path, directories);
}

/** What a stored Directory message and all below it stand for, to be made at `path`. */
export async function entriesOfDirectory(
  root: Digest,
  path: string,
  blobs: BlobStore,
  signal: AbortSignal,
): Promise<DownloadEntry[]> {
  const limits = defaultTreeLimits;
  const { directories, missing } = await walkDirectories(root, blobs, { limits }, signal);
  const [first] = missing;
  if (first) throw new StatusError(Code.NOT_FOUND, `directory ${first} is not in the store`);
  return entriesBelow(root, path, directories);
}

function entriesBelow(root: Digest, path: string, directories: Directories): DownloadEntry[] {
  const entries: DownloadEntry[] = [];
  const open = [{ digest: root, path }];
  for (let next = open.pop(); next; next = open.pop()) {
    const { digest, path: above } = next;
    const parsed = directories.get(digest.key)?.parsed;
    if (!parsed) {
      throw new StatusError(Code.INVALID_ARGUMENT, `a tree lacks its directory ${digest}`);
    }
    entries.push({ kind: 'directory', path: above });
    const at = (name: string) => (above === '' ? name : `${above}/${name}`);
    for (const { name, digest: file, isExecutable } of parsed.files) {
      entries.push({ kind: 'file', path: at(name), digest: file, isExecutable });
    }
    for (const { name, target } of parsed.symlinks) {
      entries.push({ kind: 'symlink', path: at(name), target });
    }
    for (const child of parsed.directories) {
      open.push({ digest: child.digest, path: at(child.name) });
    }
  }
  return entries;
}
