import type { Chunks } from '../../base/chunks.ts';
import { Code, StatusError } from '../../base/status.ts';
import type { Digest } from '../../digest/digest.ts';
import { formatWriteName } from '../../digest/resource-name.ts';
import { type WriteRequest, WriteResponse } from '../../proto/google/bytestream/bytestream.ts';
import { writeRequestType } from '../byte-stream-messages.ts';
import type { Rpc } from './channel.ts';
import type { RemoteBlobs } from './remote-blobs.ts';
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
 * number it gives (CLI-09). A break is not mended here: the bytes already sent are gone, and the caller
 * has the source.
 */
export async function streamWrite(
  { channel, instanceName }: RemoteBlobs,
  digest: Digest,
  chunks: Chunks,
  uploadId: string,
  signal: AbortSignal,
): Promise<void> {
  const resourceName = formatWriteName(instanceName, uploadId, digest, 'identity');
  let allSent = false;
  async function* requests(): AsyncIterable<WriteRequest> {
    let writeOffset = 0;
    for await (const data of inMessages(digest, chunks)) {
      const name = writeOffset === 0 ? resourceName : '';
      yield { resourceName: name, writeOffset, finishWrite: false, data };
      writeOffset += data.length;
    }
    allSent = true;
    const name = writeOffset === 0 ? resourceName : '';
    yield { resourceName: name, writeOffset, finishWrite: true, data: new Uint8Array() };
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
async function* inMessages(digest: Digest, chunks: Chunks): Chunks {
  let sizeBytes = 0;
  let gathered: Uint8Array[] = [];
  let gatheredBytes = 0;
  for await (const chunk of chunks) {
    sizeBytes += chunk.length;
    if (sizeBytes > digest.sizeBytes) {
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
