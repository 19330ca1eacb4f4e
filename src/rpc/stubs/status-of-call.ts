import type { StatusObject } from '@grpc/grpc-js';
import { Code, StatusError, type StatusDetail } from '../../base/status.ts';
import { Status } from '../../proto/google/rpc/status.ts';
import { NoGrpcServer } from './no-grpc-server.ts';

/** What the HTTP statuses 401, 403, 429, 502, 503 and 504 stand for: a server may be behind it. */
const codesOfProxies = new Set<Code>([
  Code.UNAUTHENTICATED,
  Code.PERMISSION_DENIED,
  Code.UNAVAILABLE,
]);

/**
 * The error of a call that has ended, with the details that came in its trailer (GEN-07). `contentType` is
 * that of the answer, if it came apart from its end. The cause is a NoGrpcServer where a web server answered.
 */
export function statusOfCall(
  path: string,
  status: StatusObject,
  contentType = status.metadata.get('content-type')[0],
): StatusError {
  const { code, details, metadata } = status;
  if (contentType !== undefined && !String(contentType).startsWith('application/grpc')) {
    const [, httpStatus = '200'] = /^Received HTTP status code (\d+)$/.exec(details) ?? [];
    const answer = `it answered content-type ${String(contentType)}, status ${httpStatus}`;
    if (codesOfProxies.has(code)) {
      return new StatusError(code, `no gRPC server was there, maybe a proxy before it: ${answer}`);
    }
    const message = `it speaks HTTP/2 but is no gRPC server: ${answer}`;
    return new StatusError(code, message, { cause: new NoGrpcServer(message) });
  }
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
    .replace(
      /^(Protocol error|Failed to connect) \([^)]*\)$/,
      '$1: it speaks no HTTP/2 in plaintext; is it gRPC without TLS?',
    );
}
