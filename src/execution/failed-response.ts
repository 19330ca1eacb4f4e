import type { StatusError } from '../base/status.ts';
import { ExecuteResponse } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';

/** The end of an operation whose action did not finish, for the reason `error` gives (EXE-12, EXE-48). */
export function failedResponse({ code, message, details }: StatusError): ExecuteResponse {
  return ExecuteResponse.fromPartial({ status: { code, message, details: [...details] } });
}
