import type { Digest } from '../digest/digest.ts';
import type { ActionResult } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';

/** The results of one instance's actions, by action digest. */
export interface ActionCache {
  /** The action's result, if one is stored; it counts as used just now. */
  find(action: Digest, signal: AbortSignal): Promise<ActionResult | undefined>;
  /** Stores `result` for the action, in place of an earlier one. Durable once it resolves. */
  update(action: Digest, result: ActionResult, signal: AbortSignal): Promise<void>;
}
