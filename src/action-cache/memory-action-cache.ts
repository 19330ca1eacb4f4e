import { LruCache } from '../base/lru-cache.ts';
import type { Digest } from '../digest/digest.ts';
import type { ActionCache, ActionCacheStorage } from './action-cache.ts';
import { decodeResult, ENTRY_OVERHEAD_BYTES, encodeResult } from './encode-result.ts';

/** Action caches that last as long as the process, for a server that keeps nothing on disk. */
export class MemoryActionCache implements ActionCacheStorage {
  readonly #results: LruCache<Uint8Array>;

  /** Results used longest ago go when all take more than `maxSizeBytes`. */
  constructor(options: { readonly maxSizeBytes: number }) {
    this.#results = new LruCache(options.maxSizeBytes);
  }

  namespace(instanceName: string): ActionCache {
    const keyOf = (action: Digest) => `${instanceName}\0${action.key}`;
    return {
      find: async (action) => {
        const bytes = this.#results.find(keyOf(action));
        return bytes && decodeResult(bytes);
      },
      update: async (action, result) => {
        const bytes = encodeResult(action, result);
        this.#results.set(keyOf(action), bytes, bytes.length + ENTRY_OVERHEAD_BYTES);
      },
    };
  }

  async close(): Promise<void> {}
}
