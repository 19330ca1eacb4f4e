import type { Digest } from '../../digest/digest.ts';
import type {
  SplitBlobRequest,
  SplitBlobResponse,
} from '../../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Instance } from '../instances.ts';
import { RESPONSE_BYTES_MAX } from '../limits.ts';
import { requestDigest } from '../request-digests.ts';

/** What a digest in the response has beside its hash: tags, lengths, and a size below 2^28. */
const DIGEST_OVERHEAD_BYTES = 11;

/** The number of the chunking function. */
const FUNCTION_BYTES = 2;

/** The chunks of any blob; the wish for a function is granted where it is announced (CDC-08). */
export async function splitBlob(
  { blobDigest, digestFunction, chunkingFunction }: SplitBlobRequest,
  { chunkedBlobs, digestFunctions }: Instance,
  signal: AbortSignal,
): Promise<SplitBlobResponse> {
  const digest = requestDigest(digestFunctions, digestFunction, blobDigest, 'blob_digest');
  const { chunks, chunking } = await chunkedBlobs.split(
    digest,
    chunkingFunction,
    chunksPerResponse(digest),
    signal,
  );
  return {
    chunkDigests: chunks.map((chunk) => chunk.toMessage()),
    chunkingFunction: chunking.value,
  };
}

/** There are no pages: the list has to fit one message (CDC-13). */
function chunksPerResponse({ hash }: Digest): number {
  return Math.floor((RESPONSE_BYTES_MAX - FUNCTION_BYTES) / (hash.length + DIGEST_OVERHEAD_BYTES));
}
