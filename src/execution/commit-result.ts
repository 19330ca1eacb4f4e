import type { ActionCache } from '../action-cache/action-cache.ts';
import { findAbsoluteSymlink, type SymlinkSearch } from '../action-cache/absolute-symlinks.ts';
import { referencesOf } from '../action-cache/result-references.ts';
import type { Log } from '../base/log.ts';
import { withHeldMemory } from '../base/memory.ts';
import { Code, StatusError } from '../base/status.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import {
  ActionResult,
  ExecuteResponse,
  ExecutedActionMetadata,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { ActionRequest, Commit } from '../scheduler/operations.ts';
import { responseBytesMax } from '../scheduler/work-queue.ts';
import type { ExecutionOptions } from './execution-options.ts';
import { failedResponse } from './failed-response.ts';

export interface CommitDependencies {
  /** The blobs of an instance. */
  readonly blobsOf: (instanceName: string) => BlobStore;
  /** The action cache of an instance. */
  readonly actionsOf: (instanceName: string) => ActionCache;
  readonly log: Log;
  readonly options: Pick<ExecutionOptions, 'absoluteSymlinks' | 'treeLimits'>;
}

/**
 * Takes in what a worker reports. The response it gives is fit to be sent: one with status OK has a
 * result whose outputs are in the CAS and whose metadata is there (EXE-38, EXE-46). Such a result is
 * stored in the action cache, over an earlier one (EXE-34), if its command exited with 0, its action
 * may be cached (EXE-33), and the worker has nothing to add: with other load it might be another one. Of one
 * with symlinks that are not allowed only what the command said is kept, with FAILED_PRECONDITION (RES-21), and
 * nothing of one that clients could not take (GEN-09). A cache that cannot take it is logged, and costs no more
 * than the next hit.
 * Fails when the CAS cannot be asked: nothing is stored then, and it can be tried again.
 */
export function commitResult({ blobsOf, actionsOf, log, options }: CommitDependencies): Commit {
  return async (request, reported, signal) => {
    const { length } = ExecuteResponse.encode(reported).finish();
    if (length > responseBytesMax) return failedResponse(tooLarge(length));
    const response: ExecuteResponse = { ...reported, cachedResult: false };
    if ((response.status?.code ?? Code.OK) !== Code.OK) return response;
    if (!response.result) {
      return failedResponse(new StatusError(Code.INTERNAL, 'the worker reported no result'));
    }
    const result = withMetadata(response.result);
    const blobs = blobsOf(request.instanceName);
    const flaw = await flawOf(request, result, blobs, signal);
    if (flaw) return failedResponse(flaw);
    if (options.absoluteSymlinks === 'disallowed') {
      const search = {
        digestFunction: request.action.function,
        blobs,
        treeLimits: options.treeLimits,
      };
      const refused = await withHeldMemory(() => refusalOf(result, search, signal));
      if (refused) return { ...failedResponse(refused), result: withoutOutputs(result) };
    }
    if (result.exitCode === 0 && response.message === '' && !request.doNotCache) {
      await actionsOf(request.instanceName)
        .update(request.action, result, signal)
        .catch((error: unknown) => {
          signal.throwIfAborted();
          const { message } = StatusError.from(error);
          log.warn('a result could not be cached', {
            action: request.action.toString(),
            error: message,
          });
        });
    }
    return { ...response, result };
  };
}

function tooLarge(sizeBytes: number): StatusError {
  return new StatusError(
    Code.INVALID_ARGUMENT,
    `the worker reported a result of ${sizeBytes} bytes, more than the ${responseBytesMax} that clients take: ` +
      'name fewer outputs, or a directory that holds them',
  );
}

/** Why a result cannot be handed out. Lost outputs can be made again; malformed ones are our own fault. */
async function flawOf(
  { action }: ActionRequest,
  result: ActionResult,
  blobs: BlobStore,
  signal: AbortSignal,
): Promise<StatusError | undefined> {
  let references;
  try {
    references = referencesOf(result, action.function).all;
  } catch (error) {
    const { message } = StatusError.from(error);
    return new StatusError(Code.INTERNAL, `the worker reported a malformed result: ${message}`);
  }
  const missing = await blobs.findMissing(references, signal);
  if (missing.length === 0) return undefined;
  const rest = missing.length > 1 ? ` and ${missing.length - 1} more` : '';
  return new StatusError(
    Code.UNAVAILABLE,
    `output ${missing[0]}${rest} of the action not in the CAS any more: run it again`,
  );
}

/** Why a result is not one that this server gives, though its command ran; undefined if it is. */
async function refusalOf(
  result: ActionResult,
  search: SymlinkSearch,
  signal: AbortSignal,
): Promise<StatusError | undefined> {
  try {
    const found = await findAbsoluteSymlink(result, search, signal);
    if (found === undefined) return undefined;
    return new StatusError(
      Code.FAILED_PRECONDITION,
      `${found} has an absolute target, which is not allowed here: make the link relative`,
    );
  } catch (error) {
    const { code, message } = StatusError.from(error);
    if (code !== Code.INVALID_ARGUMENT) throw error;
    return new StatusError(Code.FAILED_PRECONDITION, `no symlinks can be looked for: ${message}`);
  }
}

function withoutOutputs(result: ActionResult): ActionResult {
  const { exitCode, stdoutRaw, stdoutDigest, stderrRaw, stderrDigest, executionMetadata } = result;
  const said = { exitCode, stdoutRaw, stdoutDigest, stderrRaw, stderrDigest, executionMetadata };
  return { ...ActionResult.fromPartial({}), ...said };
}

/** Buck2 fails on a result without metadata (AC-20). */
function withMetadata(result: ActionResult): ActionResult {
  const metadata = result.executionMetadata ?? ExecutedActionMetadata.fromPartial({});
  return { ...result, executionMetadata: { ...metadata, worker: metadata.worker || 'unknown' } };
}
