import { Digest } from '../../digest/digest.ts';
import type {
  SpliceBlobRequest,
  SpliceBlobResponse,
} from '../../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Instance } from '../instances.ts';
import { checkBlobSize } from '../limits.ts';
import { batchDigestFunction } from '../request-digests.ts';

/** Makes a blob of chunks, however the client has cut it (CDC-20): only the bytes count. */
export async function spliceBlob(
  { blobDigest, chunkDigests, digestFunction }: SpliceBlobRequest,
  { chunkedBlobs, digestFunctions, limits }: Instance,
  signal: AbortSignal,
): Promise<SpliceBlobResponse> {
  const hashes = [blobDigest, ...chunkDigests].map((message) => message?.hash ?? '');
  const resolved = batchDigestFunction(digestFunctions, digestFunction, hashes);
  const digest = Digest.fromMessage(resolved, blobDigest, 'blob_digest');
  checkBlobSize(digest, limits);
  const chunks = chunkDigests.map((message) =>
    Digest.fromMessage(resolved, message, 'chunk_digests'),
  );
  await chunkedBlobs.splice(digest, chunks, signal);
  return { blobDigest: digest.toMessage() };
}
