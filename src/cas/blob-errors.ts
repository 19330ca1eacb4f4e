import { Code, StatusError } from '../base/status.ts';
import type { Digest } from '../digest/digest.ts';

/** Fails with OUT_OF_RANGE unless a read of the blob may begin at `offset` (BS-12). */
export function checkReadOffset(digest: Digest, offset: number): void {
  if (offset >= 0 && offset <= digest.sizeBytes) return;
  throw new StatusError(
    Code.OUT_OF_RANGE,
    `read offset ${offset} is outside blob ${digest}; it must be from 0 to ${digest.sizeBytes}`,
  );
}

/** The error for a blob that is absent. */
export function blobNotFound(digest: Digest): StatusError {
  return new StatusError(Code.NOT_FOUND, `blob ${digest} is not in the store; upload it again`);
}
