import type { Chunks } from '../../base/chunks.ts';
import { Code, StatusError } from '../../base/status.ts';
import type { Digest } from '../../digest/digest.ts';
import { formatReadName } from '../../digest/resource-name.ts';
import { ReadRequest, ReadResponse } from '../../proto/google/bytestream/bytestream.ts';
import { decompress } from '../compression.ts';
import { corrupt, tooLong } from './batch-read.ts';
import type { Rpc } from './channel.ts';
import type { RemoteBlobs } from './remote-blobs.ts';
import { Backoff, isTransient } from './retries.ts';
import { routingHeader } from './routing-header.ts';

const rpc: Rpc<ReadRequest, ReadResponse> = {
  path: '/google.bytestream.ByteStream/Read',
  request: ReadRequest,
  response: ReadResponse,
};

/**
 * Reads a blob from `offset` on by ByteStream. A read that breaks is resumed where it broke (CLI-08). A
 * complete read is compared with the digest before its last chunk is given (BS-22). It comes compressed if
 * the server does that, but what is read from elsewhere than the beginning does not: some servers take no
 * notice of the offset then.
 */
export async function* streamRead(
  blobs: RemoteBlobs,
  digest: Digest,
  offset: number,
  signal: AbortSignal,
): Chunks {
  const hasher = offset === 0 ? digest.function.createHasher(digest.sizeBytes) : undefined;
  let held: Uint8Array | undefined;
  for await (const chunk of resumed(blobs, digest, offset, signal)) {
    hasher?.update(chunk);
    if (held) yield held;
    held = chunk;
  }
  const hash = hasher?.digest() ?? digest.hash;
  if (hash !== digest.hash) throw corrupt(digest, `${hash}/${digest.sizeBytes}`);
  if (held) yield held;
}

/** Exactly the bytes from `offset` to the blob's size, in as many calls as it takes. */
async function* resumed(
  blobs: RemoteBlobs,
  digest: Digest,
  offset: number,
  signal: AbortSignal,
): Chunks {
  const backoff = new Backoff(blobs.channel.retries);
  let at = offset;
  for (;;) {
    try {
      for await (const data of readOnce(blobs, digest, at, signal)) {
        at += data.length;
        if (at > digest.sizeBytes) throw tooLong(digest);
        backoff.reset();
        yield data;
      }
      if (at === digest.sizeBytes) return;
      throw new StatusError(
        Code.DATA_LOSS,
        `the server ended blob ${digest} after ${at} bytes, as if that were all`,
      );
    } catch (thrown) {
      const error = StatusError.from(thrown);
      // Nothing is lacking then: only the end of the stream was lost (BS-20).
      if (at === digest.sizeBytes && at > offset) return;
      if (!isTransient(error)) throw error;
      await backoff.pause(error, signal);
    }
  }
}

async function* readOnce(
  { channel, codecs, instanceName }: RemoteBlobs,
  digest: Digest,
  readOffset: number,
  signal: AbortSignal,
): Chunks {
  const codec = readOffset === 0 ? codecs.streams : undefined;
  const resourceName = formatReadName(instanceName, digest, codec?.name ?? 'identity');
  const request = ReadRequest.fromPartial({ resourceName, readOffset });
  const options = { signal, headers: routingHeader(resourceName) };
  const data = dataOf(channel.serverStream(rpc, request, options));
  yield* codec ? decompress(codec, data, digest.sizeBytes, Code.DATA_LOSS) : data;
}

async function* dataOf(responses: AsyncIterable<ReadResponse>): Chunks {
  for await (const { data } of responses) {
    if (data.length > 0) yield data;
  }
}
