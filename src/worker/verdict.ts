import { constants } from 'node:os';
import { Code, StatusError } from '../base/status.ts';
import type { Outcome } from '../executor/executor.ts';
import type { ExecuteResponse } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';

/** How an action ended: to clients by its status, to people by its message. */
export type Verdict = Pick<ExecuteResponse, 'status' | 'message'>;

/** A command that takes longer than it may: Siso runs it for ever at any other text (EXE-50). */
const timeoutMessage = 'execution timeout exceeded';
/** For a command that was ended here, so that no client takes it for success. */
const endedExitCode = 128 + constants.signals.SIGTERM;

/** Has a status when the command was ended here; a command that fails by itself is a result like any other. */
export function verdictOf(outcome: Outcome): Verdict {
  if (outcome.kind === 'timed-out') {
    const seconds = (outcome.wallTimeMs / 1_000).toFixed(1);
    return {
      status: { code: Code.DEADLINE_EXCEEDED, message: timeoutMessage, details: [] },
      message: `the command was ended after ${seconds} s, its timeout`,
    };
  }
  if (outcome.kind === 'output-limit') {
    const message = `the command was ended: ${outcome.message}`;
    return { status: { code: Code.RESOURCE_EXHAUSTED, message, details: [] }, message };
  }
  if (outcome.kind === 'resource-limit') {
    return { status: undefined, message: `the command failed: ${outcome.message}` };
  }
  if (outcome.kind === 'exited' && outcome.message !== undefined) {
    const message = `a process of the command was ended: ${outcome.message}; the result is not cached`;
    return { status: undefined, message };
  }
  const message = outcome.kind === 'killed' ? `the command was ended by ${outcome.signal}` : '';
  return { status: undefined, message };
}

/** RES-23: a signal counts as 128 and its number, as shells have it. */
export function exitCodeOf(outcome: Outcome): number {
  if (outcome.kind === 'exited' || outcome.kind === 'resource-limit') return outcome.exitCode;
  if (outcome.kind === 'killed') return 128 + constants.signals[outcome.signal];
  return endedExitCode;
}

/** For an error that is the action's own fault (WRK-18); throws any other again. */
export function verdictOnError(error: unknown): Verdict {
  const { code, message, details } = StatusError.from(error);
  if (code !== Code.INVALID_ARGUMENT && code !== Code.FAILED_PRECONDITION) throw error;
  return { status: { code, message, details: [...details] }, message };
}
