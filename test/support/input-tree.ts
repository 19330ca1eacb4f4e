import type { DigestFunction } from '../../src/digest/digest-function.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import type { Digest } from '../../src/digest/digest.ts';
import {
  Directory,
  type NodeProperties,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { compareNames } from '../../src/tree/name-order.ts';
import type { PlainBlobStore } from './memory-blob-store.ts';

export interface TreeFile {
  readonly content: string;
  readonly isExecutable?: boolean;
  readonly properties?: Partial<NodeProperties>;
}

/** A text is a file, `{ link }` a symlink, a map a directory. */
export type TreeEntry =
  | string
  | TreeFile
  | { readonly link: string }
  | ReadonlyMap<string, TreeEntry>;

export const dir = (entries: Readonly<Record<string, TreeEntry>>): ReadonlyMap<string, TreeEntry> =>
  new Map(Object.entries(entries));

/** Stores an input root, and gives its digest. */
export async function putTree(
  store: PlainBlobStore,
  entries: ReadonlyMap<string, TreeEntry>,
  digestFunction: DigestFunction = sha256,
): Promise<Digest> {
  const message = Directory.fromPartial({});
  const names = [...entries.keys()].toSorted(compareNames);
  for (const name of names) {
    const entry = entries.get(name) ?? '';
    if (entry instanceof Map) {
      const digest = await putTree(store, entry as ReadonlyMap<string, TreeEntry>, digestFunction);
      message.directories.push({ name, digest: digest.toMessage() });
    } else if (typeof entry === 'object' && 'link' in entry) {
      message.symlinks.push({ name, target: entry.link, nodeProperties: undefined });
    } else {
      const file = typeof entry === 'string' ? { content: entry } : (entry as TreeFile);
      const digest = (await store.put(file.content, digestFunction)).toMessage();
      const { isExecutable = false, properties } = file;
      const nodeProperties = properties && {
        properties: [],
        mtime: undefined,
        unixMode: undefined,
        ...properties,
      };
      message.files.push({ name, digest, isExecutable, nodeProperties });
    }
  }
  return store.put(Directory.encode(message).finish(), digestFunction);
}
