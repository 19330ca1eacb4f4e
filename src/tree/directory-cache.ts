import { LruCache } from '../base/lru-cache.ts';
import type { Digest } from '../digest/digest.ts';
import type { ParsedDirectory } from './directory.ts';

/**
 * Directories that were parsed before, the ones used last. The same trees come again with every action,
 * and reading and parsing is most of walking them. Says nothing of whether their blobs are still stored.
 */
export class DirectoryCache {
  readonly #directories: LruCache<ParsedDirectory>;

  /** Keeps about `maxSizeBytes` of memory at most. */
  constructor(maxSizeBytes: number) {
    this.#directories = new LruCache(maxSizeBytes);
  }

  find(digest: Digest): ParsedDirectory | undefined {
    return this.#directories.find(digest.key);
  }

  add(digest: Digest, parsed: ParsedDirectory): void {
    this.#directories.set(digest.key, parsed, parsed.memoryBytes);
  }
}
