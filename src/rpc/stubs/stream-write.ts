import { type Chunks, isSeekable } from '../../base/chunks.ts';
import { Code, StatusError } from '../../base/status.ts';
import type { Digest } from '../../digest/digest.ts';
import { formatWriteName } from '../../digest/resource-name.ts';
import { type WriteRequest, WriteResponse } from '../../proto/google/bytestream/bytestream.ts';
import { writeRequestType } from '../byte-stream-messages.ts';
import type { Rpc } from './channel.ts';
import { queryWriteStatus } from './query-write-status.ts';
import type { RemoteBlobs } from './remote-blobs.ts';
import { Backoff, isTransient } from './retries.ts';
import { routingHeader } from './routing-header.ts';

const rpc: Rpc<WriteRequest, WriteResponse> = {
  path: '/google.bytestream.ByteStream/Write',
  request: writeRequestType,
  response: WriteResponse,
};

/** Well below the 4 MiB that servers take, and large enough that a message costs little beside it. */
const MESSAGE_DATA_BYTES = 2 ** 20;

/**
 * Stores a blob by ByteStream. An answer before the end means that the blob is there already, whatever
 * number it gives (CLI-09). A write that breaks goes on behind what the server has of it (CLI-08, BS-45),
 * if the chunks are seekable; of others the bytes already sent are gone, and the caller has the source.
 */
export async function streamWrite(
  blobs: RemoteBlobs,
  digest: Digest,
  chunks: Chunks,
  uploadId: string,
  signal: AbortSignal,
): Promise<void> {
  const resourceName = formatWriteName(blobs.instanceName, uploadId, digest, 'identity');
  if (!isSeekable(chunks)) return writeOnce(blobs, { resourceName, digest, chunks, at: 0 }, signal);
  const backoff = new Backoff(blobs.channel.retries);
  let furthest = 0;
  let at = 0;
  for (let isFirst = true; ; isFirst = false) {
    try {
      if (!isFirst) {
        const { committedSize, complete } = await queryWriteStatus(blobs, resourceName, signal);
        if (complete) return;
        // A number that makes no sense is none.
        at = committedSize > 0 && committedSize <= digest.sizeBytes ? committedSize : 0;
        if (at > furthest) backoff.reset();
        furthest = Math.max(furthest, at);
      }
      return await writeOnce(blobs, { resourceName, digest, chunks: chunks.from(at), at }, signal);
    } catch (thrown) {
      const error = StatusError.from(thrown);
      // What was on its way when the server was asked may have moved the place to go on (BS-47).
      const isMisplaced = at > 0 && error.code === Code.OUT_OF_RANGE;
      if (!isMisplaced && !isTransient(error)) throw error;
      await backoff.pause(error, signal);
    }
  }
}

/** What one call sends: the bytes of the blob from `at` on. */
interface Part {
  readonly resourceName: string;
  readonly digest: Digest;
  readonly chunks: Chunks;
  readonly at: number;
}

async function writeOnce(
  { channel }: RemoteBlobs,
  { resourceName, digest, chunks, at }: Part,
  signal: AbortSignal,
): Promise<void> {
  let allSent = false;
  async function* requests(): AsyncIterable<WriteRequest> {
    let writeOffset = at;
    const nameOnce = () => (writeOffset === at ? resourceName : '');
    for await (const data of inMessages(digest, chunks, at)) {
      yield { resourceName: nameOnce(), writeOffset, finishWrite: false, data };
      writeOffset += data.length;
    }
    allSent = true;
    yield { resourceName: nameOnce(), writeOffset, finishWrite: true, data: new Uint8Array() };
  }
  const options = { signal, headers: routingHeader(resourceName) };
  const { committedSize } = await channel.clientStream(rpc, requests(), options);
  if (allSent && committedSize !== digest.sizeBytes) {
    throw new StatusError(
      Code.DATA_LOSS,
      `the server took ${committedSize} bytes of blob ${digest} and said that these were all`,
    );
  }
}

/** The bytes in messages of 1 MiB; fails with INVALID_ARGUMENT as soon as there are too many. */
async function* inMessages(digest: Digest, chunks: Chunks, at: number): Chunks {
  let endsAt = at;
  let gathered: Uint8Array[] = [];
  let gatheredBytes = 0;
  for await (const chunk of chunks) {
    endsAt += chunk.length;
    if (endsAt > digest.sizeBytes) {
      throw new StatusError(
        Code.INVALID_ARGUMENT,
        `the upload of ${digest} has more than ${digest.sizeBytes} bytes`,
      );
    }
    let rest = chunk;
    while (gatheredBytes + rest.length >= MESSAGE_DATA_BYTES) {
      const fitting = MESSAGE_DATA_BYTES - gatheredBytes;
      yield joined([...gathered, rest.subarray(0, fitting)]);
      rest = rest.subarray(fitting);
      gathered = [];
      gatheredBytes = 0;
    }
    gathered.push(rest);
    gatheredBytes += rest.length;
  }
  if (gatheredBytes > 0) yield joined(gathered);
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  return parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
}
