import { type Chunks, isSeekable, type SeekableChunks } from '../../base/chunks.ts';
import { Code, StatusError } from '../../base/status.ts';
import type { Digest } from '../../digest/digest.ts';
import { formatWriteName } from '../../digest/resource-name.ts';
import { type WriteRequest, WriteResponse } from '../../proto/google/bytestream/bytestream.ts';
import { writeRequestType } from '../byte-stream-messages.ts';
import { type Codec, compress, packed } from '../compression.ts';
import type { Rpc } from './channel.ts';
import { ofSize } from './of-size.ts';
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

/** How much of a blob is packed to see whether it is worth it: takes some 0.3 ms. */
const SAMPLE_BYTES = 64 * 2 ** 10;

/** What the packed sample may have of it: less gain is not worth the time to pack and to unpack. */
const PACKED_SHARE_MAX = 0.8;

/**
 * Stores a blob by ByteStream. An answer before the end means that the blob is there already, whatever
 * number it gives (CLI-09). If the chunks are seekable, a write that breaks goes on behind what the server
 * has of it (CLI-08, BS-45), and it goes compressed where that is wanted and a sample says that it helps. What
 * breaks then goes on as it is: it would begin again after each break (BS-48), and a large blob on a bad line
 * never end. Of other chunks the bytes already sent are gone, and the caller has the source.
 */
export async function streamWrite(
  blobs: RemoteBlobs,
  digest: Digest,
  chunks: Chunks,
  uploadId: string,
  signal: AbortSignal,
): Promise<void> {
  const { channel, codecs, instanceName } = blobs;
  const packs =
    codecs.streams && isSeekable(chunks) && (await packsWell(codecs.streams, chunks, digest));
  const writeWith = (codec: Codec | undefined): Write => ({
    resourceName: formatWriteName(instanceName, uploadId, digest, codec?.name ?? 'identity'),
    digest,
    codec,
  });
  let write = writeWith(packs ? codecs.streams : undefined);
  if (!isSeekable(chunks)) return writeFrom(blobs, write, chunks, 0, signal);
  const backoff = new Backoff(channel.retries);
  let furthest = 0;
  let at = 0;
  for (let isFirst = true; ; isFirst = false) {
    try {
      if (!isFirst) {
        const { committedSize, complete } = await queryWriteStatus(
          blobs,
          write.resourceName,
          signal,
        );
        if (complete) return;
        // A number that makes no sense is none.
        const canGoOn = committedSize > 0 && committedSize <= digest.sizeBytes;
        at = canGoOn ? committedSize : 0;
        if (at > furthest) backoff.reset();
        furthest = Math.max(furthest, at);
      }
      return await writeFrom(blobs, write, chunks.from(at), at, signal);
    } catch (thrown) {
      const error = StatusError.from(thrown);
      // What was on its way when the server was asked may have moved the place to go on (BS-47).
      const isMisplaced = at > 0 && error.code === Code.OUT_OF_RANGE;
      if (!isMisplaced && !isTransient(error)) throw error;
      await backoff.pause(error, signal);
      write = writeWith(undefined);
    }
  }
}

/** Whether a sample from the middle, where blobs have no header, becomes shorter enough. */
async function packsWell(codec: Codec, chunks: SeekableChunks, digest: Digest): Promise<boolean> {
  for await (const chunk of chunks.from(Math.floor(digest.sizeBytes / 2))) {
    const sample = chunk.subarray(0, SAMPLE_BYTES);
    const { data } = await packed(sample, codec);
    return data.length <= PACKED_SHARE_MAX * sample.length;
  }
  return false;
}

interface Write {
  readonly resourceName: string;
  readonly digest: Digest;
  readonly codec: Codec | undefined;
}

/** Sends the chunks, which are the blob's bytes from `at` on, in one call. */
async function writeFrom(
  { channel }: RemoteBlobs,
  { resourceName, digest, codec }: Write,
  chunks: Chunks,
  at: number,
  signal: AbortSignal,
): Promise<void> {
  let writeOffset = at;
  let allSent = false;
  async function* requests(): AsyncIterable<WriteRequest> {
    const nameOnce = () => (writeOffset === at ? resourceName : '');
    const plain = ofSize(digest, chunks, at);
    const sent = codec ? compress(codec, plain, digest.sizeBytes - at) : plain;
    for await (const data of inMessages(sent)) {
      yield { resourceName: nameOnce(), writeOffset, finishWrite: false, data };
      writeOffset += data.length;
    }
    allSent = true;
    yield { resourceName: nameOnce(), writeOffset, finishWrite: true, data: new Uint8Array() };
  }
  const options = { signal, headers: routingHeader(resourceName) };
  const { committedSize } = await channel.clientStream(rpc, requests(), options);
  // Of a compressed blob servers count what they like.
  const whole = codec ? [writeOffset, digest.sizeBytes, -1] : [digest.sizeBytes];
  if (allSent && !whole.includes(committedSize)) {
    throw new StatusError(
      Code.DATA_LOSS,
      `the server took ${committedSize} bytes of blob ${digest} and said that these were all`,
    );
  }
}

/** The bytes in messages of 1 MiB. */
async function* inMessages(chunks: Chunks): Chunks {
  let gathered: Uint8Array[] = [];
  let gatheredBytes = 0;
  for await (const chunk of chunks) {
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
