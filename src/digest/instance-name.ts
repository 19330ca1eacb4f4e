import { Code, StatusError } from '../base/status.ts';

/** Longer than any sensible name, short enough for keys and log lines. */
const INSTANCE_NAME_LENGTH_MAX = 256;

/** Words that mean something else in resource names (GEN-02). */
const reserved: ReadonlySet<string> = new Set([
  'blobs',
  'uploads',
  'actions',
  'actionResults',
  'operations',
  'capabilities',
  'compressed-blobs',
]);

/**
 * Fails with INVALID_ARGUMENT unless `name` can be an instance's: segments between single slashes, none
 * a reserved word, or the empty name (GEN-01, GEN-02, GEN-03).
 */
export function checkInstanceName(name: string): void {
  if (name === '') return;
  if (name.length > INSTANCE_NAME_LENGTH_MAX) {
    throw refusal(name, `is longer than ${INSTANCE_NAME_LENGTH_MAX} characters`);
  }
  for (const segment of name.split('/')) {
    if (segment === '')
      throw refusal(name, 'has a slash too many: at its start, its end, or doubled');
    if (reserved.has(segment)) throw refusal(name, `has the reserved segment "${segment}"`);
  }
}

function refusal(name: string, flaw: string): StatusError {
  return new StatusError(
    Code.INVALID_ARGUMENT,
    `instance name ${JSON.stringify(name.slice(0, INSTANCE_NAME_LENGTH_MAX))} ${flaw}`,
  );
}
