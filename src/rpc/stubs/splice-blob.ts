import { Code, StatusError } from '../../base/status.ts';
import type { ChunkingFunction } from '../../chunking/chunking-function.ts';
import type { Digest } from '../../digest/digest.ts';
import {
  SpliceBlobRequest,
  SpliceBlobResponse,
} from '../../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Rpc } from './channel.ts';
import { BLOB_CALL_DEADLINE_MS, type RemoteBlobs } from './remote-blobs.ts';
import { withRetries } from './retries.ts';

const rpc: Rpc<SpliceBlobRequest, SpliceBlobResponse> = {
  path: '/build.bazel.remote.execution.v2.ContentAddressableStorage/SpliceBlob',
  request: SpliceBlobRequest,
  response: SpliceBlobResponse,
};

/** The server reads and writes the whole blob meanwhile: slow disks do 10 MB/s. */
const BYTES_PER_MS = 10_000;

/** The codes of a server that has the chunks, but will not make the blob of them, or not in time. */
const refusals: ReadonlySet<Code> = new Set([
  Code.UNIMPLEMENTED,
  Code.RESOURCE_EXHAUSTED,
  Code.DEADLINE_EXCEEDED,
]);

/**
 * Makes a blob of chunks that the server has. A server that keeps the blob in other chunks says that it exists
 * already, which is as good (CDC-18).
 */
export async function spliceBlob(
  { channel, instanceName }: RemoteBlobs,
  digest: Digest,
  chunks: readonly Digest[],
  chunking: ChunkingFunction,
  signal: AbortSignal,
): Promise<'stored' | 'refused' | 'chunk missing'> {
  const request = SpliceBlobRequest.fromPartial({
    instanceName,
    blobDigest: digest.toMessage(),
    chunkDigests: chunks.map((chunk) => chunk.toMessage()),
    digestFunction: digest.function.value,
    chunkingFunction: chunking.value,
  });
  const deadlineMs = BLOB_CALL_DEADLINE_MS + digest.sizeBytes / BYTES_PER_MS;
  const attempt = () => channel.unary(rpc, request, { signal, deadlineMs });
  try {
    await withRetries(channel.retries, attempt, signal);
    return 'stored';
  } catch (thrown) {
    const { code } = StatusError.from(thrown);
    if (code === Code.ALREADY_EXISTS) return 'stored';
    if (code === Code.NOT_FOUND) return 'chunk missing';
    if (refusals.has(code)) return 'refused';
    throw thrown;
  }
}
