import type { Chunks } from '../../base/chunks.ts';
import { Code, StatusError } from '../../base/status.ts';
import type { SilenceWatch } from '../../cas/silence-watch.ts';
import type { WriteResponse } from '../../proto/google/bytestream/bytestream.ts';
import { type Codec, decompress } from '../compression.ts';
import { checkBlobSize } from '../limits.ts';
import type { Call } from '../method.ts';
import type { NamedBlob } from '../named-blob.ts';
import type { WriteRequests } from './write-requests.ts';

/**
 * Clients that want the blob's size in answer to a whole compressed upload, and take no other (SIS-05, RCL-05);
 * the rest want the bytes they have sent, and the API says nothing (BS-38). `remote-client` is what programs
 * made with the SDK of reclient are called unless they say otherwise.
 */
const toolsThatWantTheBlobSize: ReadonlySet<string> = new Set([
  'siso',
  're-client',
  'remote-client',
]);

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
  const wantsBlobSize = toolsThatWantTheBlobSize.has(
    call.requestMetadata?.toolDetails?.toolName ?? '',
  );
  // It may have been sent to the end before this answer comes.
  if (!missing) return { committedSize: wantsBlobSize ? digest.sizeBytes : -1 };
  const sentBytes = await writeCompressed(requests, codec, blob, call.signal);
  return { committedSize: wantsBlobSize ? digest.sizeBytes : sentBytes };
}

/** The size that is committed: the blob's, or less when the client stopped before its end (BS-34). */
async function writePlain(
  requests: WriteRequests,
  { instance, digest, resourceName }: NamedBlob,
  signal: AbortSignal,
): Promise<number> {
  const upload = await instance.uploads.attach(resourceName, digest, requests.firstOffset, signal);
  using watch = instance.uploads.watch(digest);
  const feed = async () => {
    for await (const chunk of requests.data((next) => watch.hear(next))) {
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

/** The bytes that were sent. A compressed upload cannot be resumed (BS-48). */
async function writeCompressed(
  requests: WriteRequests,
  codec: Codec,
  { instance, digest }: NamedBlob,
  signal: AbortSignal,
): Promise<number> {
  if (requests.firstOffset !== 0) {
    throw new StatusError(
      Code.OUT_OF_RANGE,
      `the upload of ${digest} starts at ${requests.firstOffset}, but 0 bytes are committed`,
    );
  }
  using watch = instance.uploads.watch(digest);
  const data = finishedData(requests, watch);
  await instance.blobs.write(digest, decompress(codec, data, digest.sizeBytes), signal);
  return requests.finished ? requests.receivedBytes : -1;
}

/** The data, if the client says that it is all: else nothing may be stored (BS-34). */
async function* finishedData(requests: WriteRequests, watch: SilenceWatch): Chunks {
  yield* requests.data((next) => watch.hear(next));
  if (!requests.finished) {
    throw new StatusError(
      Code.INVALID_ARGUMENT,
      `the upload ended after ${requests.receivedBytes} bytes without finish_write`,
    );
  }
}
