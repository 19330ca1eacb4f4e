import { fieldOf, type Log, type LogFields } from '../base/log.ts';
import type { HeldLease, Lease } from '../proto/expbuild/worker/v1/worker.ts';
import type { Timestamp } from '../proto/google/protobuf/timestamp.ts';
import { msOf } from '../scheduler/protobuf-time.ts';

/** The line of an action whose command is about to run. */
export function logStart(log: Log, lease: Lease): void {
  log.debug('action running', fieldsOf(lease));
}

/** The line of an action that has ended: how, and how long each part of it took. */
export function logEnd(log: Log, lease: Lease, state: HeldLease, isCancelled: boolean): void {
  const { response, failure, metadata } = state;
  const fields = {
    ...fieldsOf(lease),
    fetchMs: msBetween(metadata?.inputFetchStartTimestamp, metadata?.inputFetchCompletedTimestamp),
    runMs: msBetween(metadata?.executionStartTimestamp, metadata?.executionCompletedTimestamp),
    uploadMs: msBetween(
      metadata?.outputUploadStartTimestamp,
      metadata?.outputUploadCompletedTimestamp,
    ),
  };
  if (isCancelled) log.info('action cancelled', fields);
  else if (failure) {
    log.error('action could not be run here', { ...fields, error: failure.message });
  } else if (response?.status) {
    log.warn('action failed', { ...fields, error: response.status.message });
  } else log.info('action done', { ...fields, exitCode: response?.result?.exitCode });
}

/** What tells one action from another, in this log and in the server's. */
function fieldsOf(lease: Lease): LogFields {
  const { actionDigest, requestMetadata } = lease;
  return {
    action: actionDigest && `${actionDigest.hash}/${actionDigest.sizeBytes}`,
    mnemonic: fieldOf(requestMetadata?.actionMnemonic),
    operation: lease.operationName,
    request: fieldOf(lease.requestId),
    invocation: fieldOf(requestMetadata?.toolInvocationId),
    attempt: lease.attempt,
  };
}

function msBetween(from: Timestamp | undefined, to: Timestamp | undefined): number | undefined {
  return from && to && Math.round(msOf(to) - msOf(from));
}
