import { Code, StatusError } from '../base/status.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import type { TreeLimits } from '../tree/walk-directories.ts';
import { findAbsoluteSymlink } from './absolute-symlinks.ts';
import type { ActionCache } from './action-cache.ts';

/**
 * An action cache that has no results with symlinks to absolute paths: one that was stored while they
 * were allowed is a miss, and so is one whose output directories cannot be looked through (CAP-13).
 */
export function withRelativeSymlinks(
  base: ActionCache,
  blobs: BlobStore,
  treeLimits: TreeLimits,
): ActionCache {
  return {
    find: async (action, signal) => {
      const result = await base.find(action, signal);
      if (!result) return undefined;
      const search = { digestFunction: action.function, blobs, treeLimits };
      try {
        const found = await findAbsoluteSymlink(result, search, signal);
        return found === undefined ? result : undefined;
      } catch (error) {
        const { code } = StatusError.from(error);
        if (code === Code.NOT_FOUND || code === Code.INVALID_ARGUMENT) return undefined;
        throw error;
      }
    },
    update: (action, result, signal) => base.update(action, result, signal),
  };
}
