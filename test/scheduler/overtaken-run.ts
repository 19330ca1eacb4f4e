import type { StoredRun } from '../../src/scheduler/operation-rows.ts';

/** A run that waits although it should have got the lease that `run` got: of the same build and the same needs, but sooner. */
export function findOvertaken(
  run: StoredRun,
  waiting: readonly StoredRun[],
): StoredRun | undefined {
  return waiting.find(
    (other) =>
      kindOf(other) === kindOf(run) &&
      other.avoided.length === 0 &&
      (other.priority === run.priority ? other.order < run.order : other.priority < run.priority),
  );
}

function kindOf({ request, memoryAbove }: StoredRun): string {
  const { properties, requestMetadata } = request;
  const needs = properties.map(({ name, value }) => `${name}=${value}`);
  return [requestMetadata?.toolInvocationId, memoryAbove, ...needs].join(' ');
}
