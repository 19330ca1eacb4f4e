import { Metadata } from '@grpc/grpc-js';
import type { StatusError } from '../base/status.ts';
import { Status } from '../proto/google/rpc/status.ts';
import { statusMessage } from './any.ts';

/** Clients refuse headers and trailers above 8 KiB (grpc-java's default) and lose the status with them. */
const DETAILS_BYTES_MAX = 4 * 2 ** 10;
/** As it travels: what is not ASCII takes nine times its characters. */
const MESSAGE_BYTES_MAX = 2_000;

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
  const text = `${shortened(error.message)} (request ${requestId})`;
  if (error.details.length > 0) {
    const bytes = Status.encode({ ...statusMessage(error), message: text }).finish();
    if (bytes.length <= DETAILS_BYTES_MAX) {
      metadata.set('grpc-status-details-bin', Buffer.from(bytes));
    }
  }
  return Object.assign(new Error(text), { code: error.code, details: text, metadata });
}

/** As much of it as a trailer holds. Half a surrogate pair has no percent-encoding, and grpc-js throws. */
function shortened(message: string): string {
  const text = message.slice(0, MESSAGE_BYTES_MAX).toWellFormed();
  if (encodeURI(text).length <= MESSAGE_BYTES_MAX) return text;
  let kept = '';
  let bytes = 0;
  for (const character of text) {
    bytes += encodeURI(character).length;
    if (bytes > MESSAGE_BYTES_MAX) break;
    kept += character;
  }
  return kept;
}
