import { LruCache } from '../base/lru-cache.ts';
import type { Digest } from '../digest/digest.ts';

/** A Digest and its place in a list. */
const BYTES_PER_DIGEST = 200;

/**
 * The files of output trees that were read before, the trees used last: a build asks again for the
 * results of the build before it. Says nothing of whether the blobs are still stored.
 */
export class KnownTrees {
  readonly #filesByTree: LruCache<readonly Digest[]>;

  /** Keeps about `maxSizeBytes` of memory at most. */
  constructor(maxSizeBytes: number) {
    this.#filesByTree = new LruCache(maxSizeBytes);
  }

  find(tree: Digest): readonly Digest[] | undefined {
    return this.#filesByTree.find(tree.key);
  }

  add(tree: Digest, files: readonly Digest[]): void {
    this.#filesByTree.set(tree.key, files, (1 + files.length) * BYTES_PER_DIGEST);
  }
}
