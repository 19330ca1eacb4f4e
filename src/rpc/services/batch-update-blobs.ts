import { type Chunks, chunksOf } from '../../base/chunks.ts';
import { concurrently } from '../../base/concurrently.ts';
import { Code, StatusError } from '../../base/status.ts';
import { untilAborted } from '../../base/until-aborted.ts';
import { UploadCheck } from '../../cas/upload-check.ts';
import type { DigestFunction } from '../../digest/digest-function.ts';
import { Digest } from '../../digest/digest.ts';
import {
  type BatchUpdateBlobsRequest,
  type BatchUpdateBlobsRequest_Request,
  type BatchUpdateBlobsResponse,
  type BatchUpdateBlobsResponse_Response,
  Compressor_Value,
} from '../../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { Status } from '../../proto/google/rpc/status.ts';
import { decompress, supportedCodecs } from '../compression.ts';
import type { Instance } from '../instances.ts';
import { checkBlobSize, RESPONSE_BYTES_MAX } from '../limits.ts';
import { batchDigestFunction } from '../request-digests.ts';
import { BatchStatuses, entryBytes } from './batch-statuses.ts';

/** Stores commit in groups, so many at once are fast; each holds a descriptor or two. */
const WRITES_AT_ONCE = 64;

/** Each blob succeeds or fails for itself (CAS-10); too many bytes fail them all (CAS-12). */
export async function batchUpdateBlobs(
  { requests, digestFunction }: BatchUpdateBlobsRequest,
  instance: Instance,
  signal: AbortSignal,
): Promise<BatchUpdateBlobsResponse> {
  // What was sent counts, not what it decompresses to (CAS-13).
  const bytes = requests.reduce((sum, { data }) => sum + data.length, 0);
  const { batchBytesMax } = instance.limits;
  if (bytes > batchBytesMax) {
    throw new StatusError(
      Code.INVALID_ARGUMENT,
      `the batch has ${bytes} bytes of blobs, more than max_batch_total_size_bytes, which is ` +
        `${batchBytesMax}; use ByteStream.Write for large blobs`,
    );
  }
  if (requests.some(({ digest }) => digest === undefined)) {
    throw new StatusError(Code.INVALID_ARGUMENT, 'requests.digest is not set');
  }
  const hashes = requests.map(({ digest }) => digest?.hash ?? '');
  const batchFunction = batchDigestFunction(instance.digestFunctions, digestFunction, hashes);
  const answerBytes = entryBytes(hashes);
  if (answerBytes > RESPONSE_BYTES_MAX) {
    throw new StatusError(
      Code.INVALID_ARGUMENT,
      `the batch has ${requests.length} blobs, whose statuses do not fit in a message; send fewer at once`,
    );
  }
  const statuses = new BatchStatuses(answerBytes);
  const responses: BatchUpdateBlobsResponse_Response[] = requests.map(({ digest }) => ({
    digest,
    status: Status.fromPartial({}),
  }));
  await concurrently(
    requests.entries(),
    WRITES_AT_ONCE,
    async ([index, request], either) => {
      try {
        await update(request, batchFunction, instance, either);
      } catch (thrown) {
        either.throwIfAborted();
        responses[index] = { digest: request.digest, status: statuses.of(thrown) };
      }
    },
    signal,
  );
  return { responses };
}

async function update(
  { digest: message, data, compressor }: BatchUpdateBlobsRequest_Request,
  digestFunction: DigestFunction,
  { blobs, limits }: Instance,
  signal: AbortSignal,
): Promise<void> {
  const digest = Digest.fromMessage(digestFunction, message, 'digest');
  checkBlobSize(digest, limits);
  const codec = supportedCodecs.find(({ value }) => value === compressor);
  if (!codec && compressor !== Compressor_Value.IDENTITY) {
    throw new StatusError(
      Code.INVALID_ARGUMENT,
      `compressor ${compressor} of ${digest} is not one of supported_batch_update_compressors`,
    );
  }
  const bytes = () =>
    codec ? decompress(codec, chunksOf(data), digest.sizeBytes) : chunksOf(data);
  const taking = { isWhole: false };
  await blobs.write(digest, watched(bytes(), taking), signal);
  if (!taking.isWhole) await expectBytesOf(digest, untilAborted(bytes(), signal));
}

/** Says whether a store took all; one that has the blob takes nothing. */
async function* watched(chunks: Chunks, taking: { isWhole: boolean }): Chunks {
  yield* chunks;
  taking.isWhole = true;
}

/** A batch brings all of its bytes, so that wrong ones are told even where the blob is there (CAS-14). */
async function expectBytesOf(digest: Digest, chunks: Chunks): Promise<void> {
  const check = new UploadCheck(digest);
  for await (const chunk of chunks) check.update(chunk);
  check.finish();
}
