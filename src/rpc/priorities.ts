import { Code, StatusError } from '../base/status.ts';

export interface PriorityRange {
  readonly minPriority: number;
  readonly maxPriority: number;
}

/** Of executions: any number would do for the scheduler; a client sees where its mistakes begin. */
export const executionPriorities: PriorityRange = {
  minPriority: -1_000_000,
  maxPriority: 1_000_000,
};

/** Of results: what was used last is kept longest, whatever a client would like, so there is only one. */
export const resultsCachePriorities: PriorityRange = { minPriority: 0, maxPriority: 0 };

/** Fails with INVALID_ARGUMENT outside the announced range (AC-21, EXE-14, EXE-15). */
export function checkPriority(
  priority: number,
  { minPriority, maxPriority }: PriorityRange,
  field: string,
): void {
  if (priority >= minPriority && priority <= maxPriority) return;
  throw new StatusError(
    Code.INVALID_ARGUMENT,
    `${field} is ${priority}; this server announces ${minPriority} to ${maxPriority}`,
  );
}
