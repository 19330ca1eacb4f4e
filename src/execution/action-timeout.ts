import { Code, StatusError } from '../base/status.ts';
import type { Duration } from '../proto/google/protobuf/duration.ts';

/**
 * How long a command may run. Absent, it is the default. Fails with INVALID_ARGUMENT when it is
 * malformed, not positive, or above the maximum (EXE-17): no action runs for ever, none is cut short
 * of what it asked for.
 */
export function timeoutMsOf(
  timeout: Duration | undefined,
  options: { readonly defaultTimeoutMs: number; readonly maxTimeoutMs: number },
): number {
  if (!timeout) return options.defaultTimeoutMs;
  const { seconds, nanos } = timeout;
  if (seconds < 0 || nanos < 0 || nanos > 999_999_999) {
    throw refused(`${seconds} s and ${nanos} ns is negative or malformed`);
  }
  const timeoutMs = seconds * 1000 + Math.ceil(nanos / 1_000_000);
  if (timeoutMs === 0) throw refused('0 s leaves no time to run; leave it unset for the default');
  if (timeoutMs > options.maxTimeoutMs) {
    throw refused(
      `${timeoutMs / 1000} s is more than ${options.maxTimeoutMs / 1000} s, the maximum`,
    );
  }
  return timeoutMs;
}

function refused(why: string): StatusError {
  return new StatusError(Code.INVALID_ARGUMENT, `the action's timeout of ${why}`);
}
