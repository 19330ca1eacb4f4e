import type { ActionCache } from '../action-cache/action-cache.ts';
import { referencesOf } from '../action-cache/result-references.ts';
import type { Log } from '../base/log.ts';
import { Code, StatusError } from '../base/status.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import {
  type ActionResult,
  type ExecuteResponse,
  ExecutedActionMetadata,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { ActionRequest, Commit } from '../scheduler/operations.ts';
import { failedResponse } from './failed-response.ts';

export interface CommitDependencies {
  /** The blobs of an instance. */
  readonly blobsOf: (instanceName: string) => BlobStore;
  /** The action cache of an instance. */
  readonly actionsOf: (instanceName: string) => ActionCache;
  readonly log: Log;
}

/**
 * Takes in what a worker reports. The response it gives is fit to be sent: one with status OK has a
 * result whose outputs are in the CAS and whose metadata is there (EXE-38, EXE-46). Such a result is
 * stored in the action cache, over an earlier one (EXE-34), if its command exited with 0 and its action
 * may be cached (EXE-33). A cache that cannot take it is logged, and costs no more than the next hit.
 * Fails when the CAS cannot be asked: nothing is stored then, and it can be tried again.
 */
export function commitResult({ blobsOf, actionsOf, log }: CommitDependencies): Commit {
  return async (request, reported, signal) => {
    const response: ExecuteResponse = { ...reported, cachedResult: false };
    if ((response.status?.code ?? Code.OK) !== Code.OK) return response;
    if (!response.result) {
      return failedResponse(new StatusError(Code.INTERNAL, 'the worker reported no result'));
    }
    const result = withMetadata(response.result);
    const flaw = await flawOf(request, result, blobsOf(request.instanceName), signal);
    if (flaw) return failedResponse(flaw);
    if (result.exitCode === 0 && !request.doNotCache) {
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
  return new StatusError(
    Code.UNAVAILABLE,
    `output ${missing[0]} of the action is not in the CAS any more, and ${missing.length - 1} others: ` +
      'run it again',
  );
}

/** Buck2 fails on a result without metadata (AC-20). */
function withMetadata(result: ActionResult): ActionResult {
  const metadata = result.executionMetadata ?? ExecutedActionMetadata.fromPartial({});
  return { ...result, executionMetadata: { ...metadata, worker: metadata.worker || 'unknown' } };
}
