import type { Digest } from '../digest/digest.ts';
import type { ActionResult } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';

/** The results of one instance's actions, by action digest. */
export interface ActionCache {
  /** The action's result, if one is stored; it counts as used just now. */
  find(action: Digest, signal: AbortSignal): Promise<ActionResult | undefined>;
  /**
   * Stores `result` for the action, in place of an earlier one, at once and whole (AC-18). Outlives this
   * process, unless the storage is in its memory.
   */
  update(action: Digest, result: ActionResult, signal: AbortSignal): Promise<void>;
}

/** The action caches of all instances, which share one bound on their size. */
export interface ActionCacheStorage {
  /** The cache of one instance: no other instance sees what is stored in it (DIG-10). */
  namespace(instanceName: string): ActionCache;
  close(): Promise<void>;
}
