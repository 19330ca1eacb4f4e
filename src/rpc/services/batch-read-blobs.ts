import { collect } from '../../base/chunks.ts';
import { concurrently } from '../../base/concurrently.ts';
import { holdMemory } from '../../base/memory.ts';
import { Code, StatusError } from '../../base/status.ts';
import { Digest } from '../../digest/digest.ts';
import {
  type BatchReadBlobsRequest,
  type BatchReadBlobsResponse,
  type BatchReadBlobsResponse_Response,
  Compressor_Value,
} from '../../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { Status } from '../../proto/google/rpc/status.ts';
import { packed, supportedCodecs } from '../compression.ts';
import type { Instance } from '../instances.ts';
import { RESPONSE_BYTES_MAX } from '../limits.ts';
import { batchDigestFunction } from '../request-digests.ts';
import { BatchStatuses, entryBytes } from './batch-statuses.ts';

/** As many as are written at once; small blobs are read one after the other anyway. */
const READS_AT_ONCE = 64;

/**
 * Each blob with a status of its own (CAS-30), packed where the client accepts that and it saves (CAS-33).
 * Fails as a whole when the blobs are more than the limit (CAS-32), or would not fit in a message.
 */
export async function batchReadBlobs(
  { digests, digestFunction, acceptableCompressors }: BatchReadBlobsRequest,
  instance: Instance,
  signal: AbortSignal,
): Promise<BatchReadBlobsResponse> {
  const hashes = digests.map(({ hash }) => hash);
  const batchFunction = batchDigestFunction(instance.digestFunctions, digestFunction, hashes);
  const statuses = new BatchStatuses(checkedSize(digests, instance.limits.batchBytesMax));
  const codec = supportedCodecs.find(({ value }) => acceptableCompressors.includes(value));
  const responses: BatchReadBlobsResponse_Response[] = [];
  await concurrently(
    digests.entries(),
    READS_AT_ONCE,
    async ([index, message], either) => {
      const response: BatchReadBlobsResponse_Response = {
        digest: message,
        data: new Uint8Array(),
        status: Status.fromPartial({}),
        compressor: Compressor_Value.IDENTITY,
      };
      try {
        const digest = Digest.fromMessage(batchFunction, message, 'digests');
        const data = await collect(instance.blobs.read(digest, 0, either));
        ({ data: response.data, compressor: response.compressor } = await packed(data, codec));
      } catch (thrown) {
        either.throwIfAborted();
        response.status = statuses.of(thrown);
      }
      responses[index] = response;
    },
    signal,
  );
  return { responses };
}

/** What the response takes when all can be read. */
function checkedSize(digests: BatchReadBlobsRequest['digests'], batchBytesMax: number): number {
  const sizes = digests.map(({ sizeBytes }) => Math.max(0, sizeBytes));
  const bytes = sizes.reduce((sum, sizeBytes) => sum + sizeBytes, 0);
  const overhead = entryBytes(digests.map(({ hash }) => hash));
  if (bytes > batchBytesMax || bytes + overhead > RESPONSE_BYTES_MAX) {
    throw new StatusError(
      Code.INVALID_ARGUMENT,
      `the batch asks for ${digests.length} blobs of ${bytes} bytes; they must not exceed ` +
        `max_batch_total_size_bytes, which is ${batchBytesMax}, nor, with their digests, a message`,
    );
  }
  holdMemory(bytes);
  return bytes + overhead;
}
