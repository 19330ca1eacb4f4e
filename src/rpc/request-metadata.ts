import { fieldOf, type LogFields } from '../base/log.ts';
import { RequestMetadata } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';

/** Today's header, the one that Pants sends, and the one that old buildbox sends (MD-01, MD-03). */
export const requestMetadataHeaders: readonly string[] = [
  'build.bazel.remote.execution.v2.requestmetadata-bin',
  'google.devtools.remoteexecution.v1test.requestmetadata-bin',
  'requestmetadata-bin',
];

/** Clients send some hundred bytes; what is far larger is not kept in memory and logs (MD-05). */
const HEADER_BYTES_MAX = 16 * 2 ** 10;

/** What the client says of itself; undefined when it says nothing that can be read (MD-02). */
export function parseRequestMetadata(header: Uint8Array): RequestMetadata | undefined {
  if (header.length === 0 || header.length > HEADER_BYTES_MAX) return undefined;
  try {
    return RequestMetadata.decode(header);
  } catch {
    return undefined;
  }
}

/** The words of it that tell calls apart in a log. */
export function requestMetadataFields(metadata: RequestMetadata | undefined): LogFields {
  if (!metadata) return {};
  return {
    tool: fieldOf(metadata.toolDetails?.toolName),
    invocation: fieldOf(metadata.toolInvocationId),
    actionId: fieldOf(metadata.actionId),
  };
}
