import { Code, StatusError } from '../base/status.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import type { Digest } from '../digest/digest.ts';
import type { Execution } from '../execution/execution.ts';
import type {
  ActionResult,
  ExecuteOperationMetadata,
  ExecuteResponse,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { type BlobSource, uploadMissing, type UploadProgress } from '../tree/upload-files.ts';
import { missingInputsOf } from './missing-inputs.ts';

export interface RunOptions {
  readonly instanceName: string;
  readonly action: Digest;
  /** What can be uploaded for it: every blob of the action, or nothing if it is on the server. */
  readonly sources: readonly BlobSource[];
  readonly skipCacheLookup: boolean;
  readonly priority: number;
}

/** The server, as a client that runs actions sees it. */
export interface RunPorts {
  readonly blobs: BlobStore;
  readonly execution: Execution;
}

/** What happened, as it happens. Each may be called any number of times. */
export interface RunEvents {
  uploading(progress: UploadProgress): void;
  /** The operation's state. */
  state(metadata: ExecuteOperationMetadata, operationName: string): void;
  /** The server does not take the action for now; it is asked again. */
  postponed(why: StatusError): void;
  /** The server lost inputs that were uploaded before, and gets them again. */
  uploadingAgain(blobs: number): void;
}

/** How the action ended: with a result, or without having finished. */
export type RunOutcome =
  | {
      readonly kind: 'finished';
      readonly result: ActionResult;
      readonly isCached: boolean;
      /** What the server adds for people, such as the limit that the command met. */
      readonly message: string;
    }
  | {
      readonly kind: 'unfinished';
      readonly error: StatusError;
      /** What is known of it nevertheless, such as the output so far. */
      readonly result: ActionResult | undefined;
    };

/** Eviction may strike between two attempts; three in a row mean that uploading does not help. */
const attemptsMax = 3;
/** Cancelling is a courtesy to the server: it must not keep the person waiting who asked to leave. */
const cancelTimeoutMs = 5000;

/**
 * Uploads what the server lacks, and runs the action. When inputs went missing meanwhile they are
 * uploaded again, a bounded number of times (CLI-11). When `signal` aborts, the operation is cancelled
 * on the server, too (CLI-13). Fails only when no answer is to be had, or starting was refused.
 */
export async function runAction(
  ports: RunPorts,
  options: RunOptions,
  events: RunEvents,
  signal: AbortSignal,
): Promise<RunOutcome> {
  await uploadMissing(ports.blobs, options.sources, signal, (progress) =>
    events.uploading(progress),
  );
  for (let attempt = 1; ; attempt++) {
    try {
      const outcome = outcomeOf(await executeOnce(ports.execution, options, events, signal));
      if (outcome.kind === 'finished' || attempt === attemptsMax) return outcome;
      if (!(await uploadAgain(ports.blobs, options, outcome.error, events, signal))) return outcome;
    } catch (thrown) {
      if (attempt === attemptsMax || !(thrown instanceof StatusError)) throw thrown;
      if (!(await uploadAgain(ports.blobs, options, thrown, events, signal))) throw thrown;
    }
  }
}

async function executeOnce(
  execution: Execution,
  { instanceName, action, skipCacheLookup, priority }: RunOptions,
  events: RunEvents,
  signal: AbortSignal,
): Promise<ExecuteResponse> {
  let name: string | undefined;
  const request = { instanceName, action, skipCacheLookup, priority };
  const hints = { inlineStdout: true, inlineStderr: true, inlineOutputFiles: [] };
  try {
    const onPostponed = (why: StatusError) => events.postponed(why);
    const states = execution.execute(
      { ...request, ...hints, requestMetadata: undefined, onPostponed },
      signal,
    );
    for await (const state of states) {
      name = state.name;
      events.state(state.metadata, name);
      if (state.response) return state.response;
    }
  } catch (thrown) {
    if (signal.aborted && name !== undefined) {
      await execution.cancel(name, AbortSignal.timeout(cancelTimeoutMs)).catch(() => {});
    }
    throw thrown;
  }
  throw new StatusError(Code.UNAVAILABLE, `operation ${name} ended without a response`);
}

function outcomeOf({ status, result, cachedResult, message }: ExecuteResponse): RunOutcome {
  if (status && status.code !== Code.OK) {
    // The same twice is worth saying once.
    const text = [...new Set([status.message, message])].filter((part) => part !== '').join(': ');
    const details = status.details;
    const error = new StatusError(status.code as Code, text, { details });
    return { kind: 'unfinished', error, result };
  }
  if (result) return { kind: 'finished', result, isCached: cachedResult, message };
  const error = new StatusError(Code.DATA_LOSS, 'the server sent neither a result nor an error');
  return { kind: 'unfinished', error, result };
}

/** Whether the error was one that uploading can cure, and all that it asks for was sent. */
async function uploadAgain(
  blobs: BlobStore,
  { sources }: RunOptions,
  error: StatusError,
  events: RunEvents,
  signal: AbortSignal,
): Promise<boolean> {
  const names = error.code === Code.FAILED_PRECONDITION ? missingInputsOf(error) : undefined;
  if (!names) return false;
  const known = new Map(sources.map((source) => [source.digest.toString(), source]));
  const wanted = [...new Set(names)].map((name) => known.get(name));
  if (!wanted.every((source) => source !== undefined)) return false;
  events.uploadingAgain(wanted.length);
  for (const source of wanted) await blobs.write(source.digest, source.open(), signal);
  // Where one input was evicted others may have been, below a directory that is back only now.
  await uploadMissing(blobs, sources, signal);
  return true;
}
