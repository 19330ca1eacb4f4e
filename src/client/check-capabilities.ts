import { Code, StatusError } from '../base/status.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import { DigestFunction_Value } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { ServerCapabilities } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';

type Version = NonNullable<ServerCapabilities['highApiVersion']>;

export interface ClientNeeds {
  readonly digestFunction: DigestFunction;
  /** Whether actions are to be run, not only blobs moved. */
  readonly execution: boolean;
}

/**
 * Fails with FAILED_PRECONDITION, saying what does not fit, when the server speaks no version 2 of the
 * API, does not know the digest function, or runs no actions but should (CLI-01).
 */
export function checkCapabilities(server: ServerCapabilities, needs: ClientNeeds): void {
  const { lowApiVersion: low, highApiVersion: high } = server;
  if (!high || !low || low.major > 2 || high.major < 2) {
    throw refusal(`speaks versions ${shown(low)} to ${shown(high)} of the API, not 2`);
  }
  const { name, value } = needs.digestFunction;
  const forBlobs = server.cacheCapabilities?.digestFunctions ?? [];
  if (!forBlobs.includes(value)) {
    throw refusal(`does not use ${name} but ${names(forBlobs)}; set digest_function`);
  }
  if (!needs.execution) return;
  const execution = server.executionCapabilities;
  if (!execution?.execEnabled) throw refusal('runs no actions: it is a cache only');
  const forActions = [...execution.digestFunctions, execution.digestFunction];
  if (!forActions.includes(value)) {
    throw refusal(`does not run actions with ${name} but with ${names(forActions)}`);
  }
}

/** Whether the server understands Command.output_paths, which came with version 2.1 (CLI-06). */
export function knowsOutputPaths({ highApiVersion: high }: ServerCapabilities): boolean {
  return high !== undefined && (high.major > 2 || high.minor >= 1);
}

function refusal(what: string): StatusError {
  return new StatusError(Code.FAILED_PRECONDITION, `the server ${what}`);
}

const shown = (version: Version | undefined) =>
  version ? `${version.major}.${version.minor}` : '(unknown)';

/** The API's names of digest functions, for messages. */
function names(values: readonly number[]): string {
  const all = Object.entries(DigestFunction_Value);
  const known = all.filter(([, value]) => value !== 0 && values.includes(value));
  return known.map(([name]) => name).join(', ') || 'none';
}
