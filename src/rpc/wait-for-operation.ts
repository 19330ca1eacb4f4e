import type { Clock } from '../base/clock.ts';
import type { Duration } from '../proto/google/protobuf/duration.ts';
import type { Operations, OperationState } from '../scheduler/operations.ts';
import { timeoutMsOf } from './timeout-ms.ts';

/** The longest wait of one call: proxies cut calls that are silent for longer (EXE-30). */
const WAIT_MS_MAX = 30_000;

/** How long WaitOperation waits, at most WAIT_MS_MAX; INVALID_ARGUMENT for what is no duration. */
export function waitMsOf(timeout: Duration | undefined): number {
  return timeout ? Math.min(timeoutMsOf(timeout), WAIT_MS_MAX) : WAIT_MS_MAX;
}

/**
 * The operation's state when it is done, or after `waitMs` (OPS-08); undefined when there is no such
 * operation. Who waits counts as a watcher, so that the action is not given up meanwhile.
 */
export async function waitForOperation(
  operations: Operations,
  name: string,
  waitMs: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<OperationState | undefined> {
  let latest = operations.find(name);
  if (!latest || latest.response || waitMs === 0) return latest;
  const ending = new AbortController();
  const ended = AbortSignal.any([signal, ending.signal]);
  const expired = clock.sleep(waitMs, ended).then(
    () => ending.abort(),
    () => {},
  );
  try {
    for await (const state of operations.watch(name, ended)) latest = state;
  } catch (thrown) {
    signal.throwIfAborted();
    if (!ending.signal.aborted) throw thrown;
  } finally {
    ending.abort();
    await expired;
  }
  return latest;
}
