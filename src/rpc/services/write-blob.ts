import type { Chunks } from '../../base/chunks.ts';
import { Code, StatusError } from '../../base/status.ts';
import type { WriteResponse } from '../../proto/google/bytestream/bytestream.ts';
import { type Codec, decompress } from '../compression.ts';
import { checkBlobSize } from '../limits.ts';
import type { Call } from '../method.ts';
import type { NamedBlob } from '../named-blob.ts';
import type { WriteRequests } from './write-requests.ts';

/**
 * Clients that want the blob's size in answer to a whole compressed upload; the others want the bytes
 * they have sent, and the API says nothing (BS-38).
 */
const toolsThatWantTheBlobSize: ReadonlySet<string> = new Set(['siso']);

/** Takes one upload. A blob that is there already is answered at once, whatever was sent (BS-39). */
export async function writeBlob(
  requests: WriteRequests,
  blob: NamedBlob,
  call: Call,
): Promise<WriteResponse> {
  const { instance, digest, codec } = blob;
  checkBlobSize(digest, instance.limits);
  const [missing] = await instance.blobs.findMissing([digest], call.signal);
  if (!codec) {
    if (!missing) return { committedSize: digest.sizeBytes };
    return { committedSize: await writePlain(requests, blob, call.signal) };
  }
  if (!missing) return { committedSize: -1 };
  return { committedSize: await writeCompressed(requests, codec, blob, call) };
}

/** The size that is committed: the blob's, or less when the client stopped before its end (BS-34). */
async function writePlain(
  requests: WriteRequests,
  { instance, digest, resourceName }: NamedBlob,
  signal: AbortSignal,
): Promise<number> {
  const upload = await instance.uploads.attach(resourceName, digest, requests.firstOffset, signal);
  const feed = async () => {
    for await (const chunk of requests.data()) {
      if (!(await upload.push(chunk))) return;
    }
    if (requests.finished) await upload.finish();
  };
  try {
    const fed = feed();
    // Another upload may store the blob while this client is silent.
    const stored = upload.stored.then(() => true);
    return (await Promise.race([stored, fed.then(() => requests.finished)]))
      ? digest.sizeBytes
      : upload.committedSize();
  } finally {
    upload.detach();
  }
}

/** What the client expects as the committed size. A compressed upload cannot be resumed (BS-48). */
async function writeCompressed(
  requests: WriteRequests,
  codec: Codec,
  { instance, digest }: NamedBlob,
  { signal, requestMetadata }: Call,
): Promise<number> {
  if (requests.firstOffset !== 0) {
    throw new StatusError(
      Code.OUT_OF_RANGE,
      `the upload of ${digest} starts at ${requests.firstOffset}, but 0 bytes are committed`,
    );
  }
  await instance.blobs.write(digest, decompress(codec, finishedData(requests)), signal);
  if (!requests.finished) return -1;
  const tool = requestMetadata?.toolDetails?.toolName ?? '';
  return toolsThatWantTheBlobSize.has(tool) ? digest.sizeBytes : requests.receivedBytes;
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
