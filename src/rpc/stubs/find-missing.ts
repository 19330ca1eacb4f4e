import type { Digest } from '../../digest/digest.ts';
import {
  FindMissingBlobsRequest,
  FindMissingBlobsResponse,
} from '../../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Rpc } from './channel.ts';
import {
  BLOB_CALL_DEADLINE_MS,
  byFunction,
  digestSizeBytes,
  type RemoteBlobs,
} from './remote-blobs.ts';
import { withRetries } from './retries.ts';

/** Below the 4 MiB that every server takes, with room for the rest of the request. */
const REQUEST_BYTES_MAX = 4 * 2 ** 20 - 4096;

const rpc: Rpc<FindMissingBlobsRequest, FindMissingBlobsResponse> = {
  path: '/build.bazel.remote.execution.v2.ContentAddressableStorage/FindMissingBlobs',
  request: FindMissingBlobsRequest,
  response: FindMissingBlobsResponse,
};

/** Asks for all digests, each once, in as few calls as 4 MiB each allow. */
export async function findMissing(
  blobs: RemoteBlobs,
  digests: readonly Digest[],
  signal: AbortSignal,
): Promise<Digest[]> {
  const different = [...new Map(digests.map((digest) => [digest.key, digest])).values()];
  const missing: Digest[] = [];
  for (const ofFunction of byFunction(different, (digest) => digest)) {
    for (const part of inParts(ofFunction)) {
      for (const digest of await ask(blobs, part, signal)) missing.push(digest);
    }
  }
  signal.throwIfAborted();
  return missing;
}

async function ask(
  { channel, instanceName }: RemoteBlobs,
  digests: readonly [Digest, ...Digest[]],
  signal: AbortSignal,
): Promise<readonly Digest[]> {
  const request = FindMissingBlobsRequest.fromPartial({
    instanceName,
    digestFunction: digests[0].function.value,
    blobDigests: digests.map((digest) => digest.toMessage()),
  });
  const attempt = () => channel.unary(rpc, request, { signal, deadlineMs: BLOB_CALL_DEADLINE_MS });
  const response = await withRetries(channel.retries, attempt, signal);
  const keys = new Set(response.missingBlobDigests.map((m) => `${m.hash}/${m.sizeBytes}`));
  return digests.filter(({ hash, sizeBytes }) => keys.has(`${hash}/${sizeBytes}`));
}

function* inParts(digests: readonly Digest[]): Iterable<[Digest, ...Digest[]]> {
  let part: Digest[] = [];
  let sizeBytes = 0;
  for (const digest of digests) {
    sizeBytes += digestSizeBytes(digest);
    if (sizeBytes > REQUEST_BYTES_MAX) {
      yield part as [Digest, ...Digest[]];
      part = [];
      sizeBytes = digestSizeBytes(digest);
    }
    part.push(digest);
  }
  if (part.length > 0) yield part as [Digest, ...Digest[]];
}
