import type { Duration } from '../proto/google/protobuf/duration.ts';
import type { Timestamp } from '../proto/google/protobuf/timestamp.ts';

/** A moment on the wire, from milliseconds since the Unix epoch. */
export function timestampOf(ms: number): Timestamp {
  const seconds = Math.floor(ms / 1_000);
  return { seconds, nanos: Math.trunc((ms - seconds * 1_000) * 1_000_000) };
}

/** A length of time on the wire, from milliseconds, 0 or more. */
export function durationOf(ms: number): Duration {
  return timestampOf(ms);
}

/** Milliseconds of a moment or of a length of time on the wire, with a fraction. */
export function msOf({ seconds, nanos }: Timestamp | Duration): number {
  return seconds * 1_000 + nanos / 1e6;
}
