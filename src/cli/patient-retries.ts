import type { Clock } from '../base/clock.ts';
import { random } from '../base/random.ts';
import { defaultRetryOptions, type RetryPolicy } from '../rpc/stubs/retries.ts';

/** A server that restarts is back within some 20 s: work that is under way is not given up for that. */
const attemptsMax = 12;

/** For calls to a server that was there a moment ago. */
export function patientRetries(clock: Clock): RetryPolicy {
  return { ...defaultRetryOptions, attemptsMax, clock, random };
}
