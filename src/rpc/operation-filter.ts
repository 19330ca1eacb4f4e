import { quoted } from '../base/quoted.ts';
import { Code, StatusError } from '../base/status.ts';
import type { OperationState } from '../scheduler/operations.ts';

/**
 * Which operations a ListOperations filter lets through: `done=true`, `done=false`, or all for an empty
 * one. Anything else is INVALID_ARGUMENT (OPS-02), rather than a list of what was not asked for.
 */
export function parseOperationFilter(filter: string): (state: OperationState) => boolean {
  const trimmed = filter.trim();
  if (trimmed === '') return () => true;
  const [, done] = /^done *= *(true|false)$/.exec(trimmed) ?? [];
  if (done) return ({ response }) => (response !== undefined) === (done === 'true');
  throw new StatusError(
    Code.INVALID_ARGUMENT,
    `filter ${quoted(filter)} is not supported; use done=true, done=false, or none`,
  );
}
