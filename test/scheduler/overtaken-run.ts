import type { StoredRun } from '../../src/scheduler/operation-rows.ts';

/** A run that waits although it should have got the lease that `run` got: the same OS and build, but sooner. */
export function findOvertaken(
  run: StoredRun,
  waiting: readonly StoredRun[],
): StoredRun | undefined {
  const os = run.request.properties[0]?.value;
  return waiting.find(
    (other) =>
      other.request.properties[0]?.value === os &&
      other.request.requestMetadata?.toolInvocationId ===
        run.request.requestMetadata?.toolInvocationId &&
      other.avoided.length === 0 &&
      (other.priority === run.priority ? other.order < run.order : other.priority < run.priority),
  );
}
