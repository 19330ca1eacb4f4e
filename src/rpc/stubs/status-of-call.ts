import type { StatusObject } from '@grpc/grpc-js';
import { type Code, StatusError, type StatusDetail } from '../../base/status.ts';
import { Status } from '../../proto/google/rpc/status.ts';

/** The error of a call that has ended, with the details that came in its trailer (GEN-07). */
export function statusOfCall(path: string, { code, details, metadata }: StatusObject): StatusError {
  return new StatusError(code, details === '' ? `${path} failed` : plain(details), {
    details: detailsOf(metadata.get('grpc-status-details-bin')[0]),
  });
}

/** A status inside a message, such as that of one blob of a batch; undefined when it is OK. */
export function errorOfMessage(status: Status | undefined): StatusError | undefined {
  if (!status || status.code === 0) return undefined;
  return new StatusError(status.code as Code, status.message, { details: status.details });
}

function detailsOf(trailer: string | Buffer | undefined): readonly StatusDetail[] {
  if (!Buffer.isBuffer(trailer)) return [];
  try {
    return Status.decode(trailer).details;
  } catch {
    return []; // The code and the text are there all the same.
  }
}

/** Of what grpc-js says of a server that is not there, or is no gRPC server, the part that tells why. */
function plain(details: string): string {
  return details
    .replace(/^Deadline exceeded after ([\d.]+)s,.*$/s, 'no answer within $1 s')
    .replace(/^No connection established\. Last error: (?:Error: )?/, '')
    .replace(/\. Resolution note: $/, '')
    .replace(/^(Protocol error|Failed to connect) \([^)]*\)$/, '$1: is it gRPC without TLS?');
}
