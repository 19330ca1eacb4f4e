import type { Chunks } from '../../base/chunks.ts';
import { Code, StatusError } from '../../base/status.ts';
import type { WriteRequest, WriteResponse } from '../../proto/google/bytestream/bytestream.ts';
import { decompress } from '../compression.ts';
import { checkBlobSize } from '../limits.ts';
import type { Call } from '../method.ts';
import type { NamedBlob } from '../named-blob.ts';
import { WriteRequests } from './write-requests.ts';

/**
 * Clients that want the blob's size in answer to a whole compressed upload; the others want the bytes
 * they have sent, and the API says nothing (BS-38).
 */
const toolsThatWantTheBlobSize: ReadonlySet<string> = new Set(['siso']);

/** Takes one upload. A blob that is there already is answered at once, whatever was sent (BS-39). */
export async function writeBlob(
  messages: AsyncIterable<WriteRequest>,
  resolve: (resourceName: string) => NamedBlob,
  call: Call,
): Promise<WriteResponse> {
  const requests = await WriteRequests.open(messages);
  const blob = resolve(requests.resourceName);
  const { instance, digest, compressor } = blob;
  const compressed = compressor !== 'identity';
  checkBlobSize(digest, instance.limits);
  const [missing] = await instance.blobs.findMissing([digest], call.signal);
  if (!missing) return { committedSize: compressed ? -1 : digest.sizeBytes };
  if (requests.firstOffset !== 0) {
    throw new StatusError(
      Code.OUT_OF_RANGE,
      `the upload of ${digest} starts at ${requests.firstOffset}, but 0 bytes are committed`,
    );
  }
  const data = finishedData(requests);
  await instance.blobs.write(digest, compressed ? decompress(data) : data, call.signal);
  if (!compressed) return { committedSize: digest.sizeBytes };
  if (!requests.finished) return { committedSize: -1 };
  const tool = call.requestMetadata?.toolDetails?.toolName ?? '';
  return {
    committedSize: toolsThatWantTheBlobSize.has(tool) ? digest.sizeBytes : requests.receivedBytes,
  };
}

/** The data, if the client says that it is all: else nothing may be stored (BS-34). */
async function* finishedData(requests: WriteRequests): Chunks {
  yield* requests.data();
  if (!requests.finished) {
    throw new StatusError(
      Code.INVALID_ARGUMENT,
      `the upload ended after ${requests.receivedBytes} bytes without finish_write`,
    );
  }
}
