import type { Digest } from '../digest/digest.ts';
import type { ParsedDirectory } from './directory.ts';

/** A parsed directory of 100 files was measured to take 2.2 times the bytes of its encoding. */
const BYTES_PER_ENCODED_BYTE = 3;
/** What an empty directory takes with its place in the map. */
const BYTES_PER_DIRECTORY = 500;

/**
 * Directories that were parsed before, the ones used last. The same trees come again with every action,
 * and reading and parsing is most of walking them. Says nothing of whether their blobs are still stored.
 */
export class DirectoryCache {
  readonly #directories = new Map<string, { parsed: ParsedDirectory; sizeBytes: number }>();
  readonly #maxSizeBytes: number;
  #sizeBytes = 0;

  /** Keeps about `maxSizeBytes` of memory at most. */
  constructor(maxSizeBytes: number) {
    this.#maxSizeBytes = maxSizeBytes;
  }

  find(digest: Digest): ParsedDirectory | undefined {
    const { key } = digest;
    const found = this.#directories.get(key);
    if (!found) return undefined;
    this.#directories.delete(key);
    this.#directories.set(key, found);
    return found.parsed;
  }

  add(digest: Digest, parsed: ParsedDirectory): void {
    const { key } = digest;
    const sizeBytes = BYTES_PER_DIRECTORY + BYTES_PER_ENCODED_BYTE * digest.sizeBytes;
    if (this.#directories.has(key) || sizeBytes > this.#maxSizeBytes) return;
    this.#directories.set(key, { parsed, sizeBytes });
    this.#sizeBytes += sizeBytes;
    for (const [oldest, entry] of this.#directories) {
      if (this.#sizeBytes <= this.#maxSizeBytes) return;
      this.#directories.delete(oldest);
      this.#sizeBytes -= entry.sizeBytes;
    }
  }
}
