import { Code } from '../base/status.ts';
import type { ExecuteResponse } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { endedBy, retryAfter } from './endings.ts';
import type { KnownWorkers } from './known-workers.ts';
import { hasUnknownName } from './platform.ts';
import type { PlatformQueue } from './platform-queue.ts';
import type { SchedulerOptions } from './scheduler-options.ts';

/**
 * How the runs of a queue end that no worker matched for the grace time. UNAVAILABLE when such a worker may
 * come. Else it looks like a mistake: INVALID_ARGUMENT when no worker knows the name of a property,
 * FAILED_PRECONDITION when none has the value (EXE-07, EXE-08). `why`: the waiting reason.
 */
export function unmatchedEnding(
  queue: PlatformQueue,
  workers: KnownWorkers,
  { unmatchedGraceMs, retryDelayMs }: SchedulerOptions,
  why: string,
): ExecuteResponse {
  const offers = workers.offers();
  const message = `${why}, for ${unmatchedGraceMs / 1_000} s`;
  if (offers.length === 0 || queue.wasMatched || workers.mayMatch(queue.requirements))
    return endedBy(Code.UNAVAILABLE, message, [retryAfter(retryDelayMs)]);
  const isUnknown = hasUnknownName(queue.requirements, offers);
  return endedBy(isUnknown ? Code.INVALID_ARGUMENT : Code.FAILED_PRECONDITION, message);
}
