import { Code, StatusError } from '../../base/status.ts';
import { Digest } from '../../digest/digest.ts';
import {
  BatchReadBlobsRequest,
  BatchReadBlobsResponse,
  Compressor_Value,
} from '../../proto/build/bazel/remote/execution/v2/remote_execution.ts';
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
      const answer = errorOfMessage(status) ?? verified(blobs, digest, data, compressor);
      answers.set(digest.key, answer);
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
function unpack(
  { codecs }: RemoteBlobs,
  digest: Digest,
  data: Uint8Array,
  compressor: Compressor_Value,
): Uint8Array {
  if (compressor === Compressor_Value.IDENTITY) return data;
  if (compressor !== codecs.streams?.value) {
    throw new StatusError(Code.INTERNAL, `BatchReadBlobs compressed blob ${digest} unasked`);
  }
  try {
    return codecs.streams.decompressNow(data, digest.sizeBytes);
  } catch (thrown) {
    const { code, message } = thrown as NodeJS.ErrnoException;
    if (code === 'ERR_BUFFER_TOO_LARGE') throw tooLong(digest);
    throw new StatusError(
      Code.DATA_LOSS,
      `the server sent no whole ${codecs.streams.name} stream for blob ${digest}: ${message}`,
      { cause: thrown },
    );
  }
}

function verified(
  blobs: RemoteBlobs,
  digest: Digest,
  data: Uint8Array,
  compressor: Compressor_Value,
): Answer {
  try {
    const bytes = unpack(blobs, digest, data, compressor);
    const actual = Digest.ofBytes(digest.function, bytes);
    return actual.equals(digest) ? bytes : corrupt(digest, actual);
  } catch (thrown) {
    return StatusError.from(thrown);
  }
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
