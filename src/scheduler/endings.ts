import type { Code, StatusDetail } from '../base/status.ts';
import { ExecuteResponse } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { RetryInfo } from '../proto/google/rpc/error_details.ts';
import { durationOf } from './protobuf-time.ts';

/** How an operation ends whose action gave no result: the reason is its response's status (EXE-12). */
export function endedBy(
  code: Code,
  message: string,
  details: readonly StatusDetail[] = [],
): ExecuteResponse {
  return ExecuteResponse.fromPartial({ status: { code, message, details: [...details] } });
}

/** Says that the same request may work later; for passing troubles only (EXE-54). */
export function retryAfter(delayMs: number): StatusDetail {
  return {
    typeUrl: 'type.googleapis.com/google.rpc.RetryInfo',
    value: RetryInfo.encode({ retryDelay: durationOf(delayMs) }).finish(),
  };
}
