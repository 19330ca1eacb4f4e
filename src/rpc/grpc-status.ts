import { Metadata } from '@grpc/grpc-js';
import type { StatusError } from '../base/status.ts';
import { Status } from '../proto/google/rpc/status.ts';
import { statusMessage } from './any.ts';

/** Clients refuse headers and trailers above 8 KiB (grpc-java's default) and lose the status with them. */
const DETAILS_BYTES_MAX = 4 * 2 ** 10;
const MESSAGE_CHARACTERS_MAX = 1000;

/** An error as grpc-js wants it: with its details in the trailer, if they fit there (GEN-07). */
export function grpcError(
  error: StatusError,
  requestId: string,
): Error & {
  readonly code: number;
  readonly details: string;
  readonly metadata: Metadata;
} {
  const metadata = new Metadata();
  // Half a surrogate pair has no percent-encoding, and grpc-js throws.
  const text =
    `${error.message.slice(0, MESSAGE_CHARACTERS_MAX)} (request ${requestId})`.toWellFormed();
  if (error.details.length > 0) {
    const bytes = Status.encode({ ...statusMessage(error), message: text }).finish();
    if (bytes.length <= DETAILS_BYTES_MAX) {
      metadata.set('grpc-status-details-bin', Buffer.from(bytes));
    }
  }
  return Object.assign(new Error(text), { code: error.code, details: text, metadata });
}
