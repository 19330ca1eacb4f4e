import {
  type ActionResult,
  ExecutedActionMetadata,
} from '../../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Timestamp } from '../../proto/google/protobuf/timestamp.ts';

/**
 * The result with a worker, so that it is never an empty message and has metadata, without which Buck2
 * fails (AC-19, AC-20). Bazel reads all moments once there is a worker, and takes those that are unset
 * for 1970 (BZL-22): they become the moment of the upload.
 */
export function withWorker(
  result: ActionResult,
  toolName: string | undefined,
  uploadedAt: number,
): ActionResult {
  const metadata = result.executionMetadata ?? ExecutedActionMetadata.fromPartial({});
  if (metadata.worker !== '') return result;
  const at: Timestamp = {
    seconds: Math.floor(uploadedAt / 1000),
    nanos: (uploadedAt % 1000) * 1_000_000,
  };
  const executionMetadata: ExecutedActionMetadata = {
    ...metadata,
    worker: toolName === undefined || toolName === '' ? 'client' : toolName,
    queuedTimestamp: metadata.queuedTimestamp ?? at,
    workerStartTimestamp: metadata.workerStartTimestamp ?? at,
    inputFetchStartTimestamp: metadata.inputFetchStartTimestamp ?? at,
    inputFetchCompletedTimestamp: metadata.inputFetchCompletedTimestamp ?? at,
    executionStartTimestamp: metadata.executionStartTimestamp ?? at,
    executionCompletedTimestamp: metadata.executionCompletedTimestamp ?? at,
    outputUploadStartTimestamp: metadata.outputUploadStartTimestamp ?? at,
    outputUploadCompletedTimestamp: metadata.outputUploadCompletedTimestamp ?? at,
    workerCompletedTimestamp: metadata.workerCompletedTimestamp ?? at,
  };
  return { ...result, executionMetadata };
}
