import { Code, StatusError } from '../../base/status.ts';
import { chunksOf } from '../../base/chunks.ts';
import { Digest } from '../../digest/digest.ts';
import {
  BatchReadBlobsRequest,
  BatchReadBlobsResponse,
  Compressor_Value,
} from '../../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { decompress } from '../compression.ts';
import type { Rpc } from './channel.ts';
import { BLOB_CALL_DEADLINE_MS, byFunction, type RemoteBlobs } from './remote-blobs.ts';
import { errorOfMessage } from './status-of-call.ts';

const rpc: Rpc<BatchReadBlobsRequest, BatchReadBlobsResponse> = {
  path: '/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchReadBlobs',
  request: BatchReadBlobsRequest,
  response: BatchReadBlobsResponse,
};

type Answer = Uint8Array | StatusError;

/** Reads small blobs at once; for each its bytes, compared with its digest (BS-22), or its error. */
export async function batchRead(
  blobs: RemoteBlobs,
  digests: readonly Digest[],
  signal: AbortSignal,
): Promise<readonly Answer[]> {
  const answers = new Map<string, Answer>();
  for (const ofFunction of byFunction(digests, (digest) => digest)) {
    const different = new Map(
      ofFunction.map((digest) => [`${digest.hash}/${digest.sizeBytes}`, digest]),
    );
    const { responses } = await ask(blobs, [...different.values()], signal);
    for (const { digest: message, data, status, compressor } of responses) {
      const digest = different.get(`${message?.hash}/${message?.sizeBytes ?? 0}`);
      if (!digest) continue;
      const unpacked = async () => verified(digest, await unpack(blobs, digest, data, compressor));
      answers.set(
        digest.key,
        errorOfMessage(status) ?? (await unpacked().catch((thrown) => StatusError.from(thrown))),
      );
    }
  }
  return digests.map(
    (digest) =>
      answers.get(digest.key) ??
      new StatusError(Code.INTERNAL, `BatchReadBlobs left out blob ${digest}`),
  );
}

function ask(
  { channel, codecs, instanceName }: RemoteBlobs,
  digests: readonly Digest[],
  signal: AbortSignal,
): Promise<BatchReadBlobsResponse> {
  const request = BatchReadBlobsRequest.fromPartial({
    instanceName,
    digests: digests.map((digest) => digest.toMessage()),
    acceptableCompressors: codecs.streams ? [codecs.streams.value] : [],
    ...(digests[0] && { digestFunction: digests[0].function.value }),
  });
  return channel.unary(rpc, request, { signal, deadlineMs: BLOB_CALL_DEADLINE_MS });
}

/** The bytes as they were before the server packed them; DATA_LOSS when that cannot be told. */
async function unpack(
  { codecs }: RemoteBlobs,
  digest: Digest,
  data: Uint8Array,
  compressor: Compressor_Value,
): Promise<Uint8Array> {
  if (compressor === Compressor_Value.IDENTITY) return data;
  if (compressor !== codecs.streams?.value) {
    throw new StatusError(Code.INTERNAL, `BatchReadBlobs compressed blob ${digest} unasked`);
  }
  const parts: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const part of decompress(codecs.streams, chunksOf(data), Code.DATA_LOSS)) {
    sizeBytes += part.length;
    if (sizeBytes > digest.sizeBytes) throw tooLong(digest);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function verified(digest: Digest, data: Uint8Array): Answer {
  const actual = Digest.ofBytes(digest.function, data);
  return actual.equals(digest) ? data : corrupt(digest, actual);
}

/** The error for a download that is not the blob that was asked for. */
export function corrupt(digest: Digest, actual: Digest | string): StatusError {
  return new StatusError(
    Code.DATA_LOSS,
    `the server sent other bytes for blob ${digest}: they have the digest ${actual}`,
  );
}

/** The error for a download that does not end where the blob does (CMP-05). */
export function tooLong(digest: Digest): StatusError {
  return corrupt(digest, `of more than ${digest.sizeBytes} bytes`);
}
