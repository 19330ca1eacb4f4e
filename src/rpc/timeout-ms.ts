import { Code, StatusError } from '../base/status.ts';
import type { Duration } from '../proto/google/protobuf/duration.ts';

/** A request's timeout in milliseconds, rounded up; INVALID_ARGUMENT when it is negative or no duration. */
export function timeoutMsOf({ seconds, nanos }: Duration): number {
  if (seconds >= 0 && nanos >= 0 && nanos <= 999_999_999) {
    return seconds * 1000 + Math.ceil(nanos / 1_000_000);
  }
  throw new StatusError(
    Code.INVALID_ARGUMENT,
    `the timeout of ${seconds} s and ${nanos} ns is negative or malformed`,
  );
}
