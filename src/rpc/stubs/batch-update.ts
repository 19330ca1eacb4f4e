import { Code, StatusError } from '../../base/status.ts';
import type { Digest } from '../../digest/digest.ts';
import {
  BatchUpdateBlobsRequest,
  BatchUpdateBlobsResponse,
} from '../../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Packed } from '../compression.ts';
import type { Rpc } from './channel.ts';
import { BLOB_CALL_DEADLINE_MS, byFunction, type RemoteBlobs } from './remote-blobs.ts';
import { errorOfMessage } from './status-of-call.ts';

const rpc: Rpc<BatchUpdateBlobsRequest, BatchUpdateBlobsResponse> = {
  path: '/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchUpdateBlobs',
  request: BatchUpdateBlobsRequest,
  response: BatchUpdateBlobsResponse,
};

/** A blob whose bytes have been compared with its digest, packed or not. */
export interface SmallBlob extends Packed {
  readonly digest: Digest;
}

type Answer = 'stored' | StatusError;

/** Stores small blobs at once; for each whether it is stored, or its error. */
export async function batchUpdate(
  blobs: RemoteBlobs,
  items: readonly SmallBlob[],
  signal: AbortSignal,
): Promise<readonly Answer[]> {
  const answers = new Map<string, Answer>();
  for (const ofFunction of byFunction(items, ({ digest }) => digest)) {
    const different = new Map(
      ofFunction.map((item) => [`${item.digest.hash}/${item.digest.sizeBytes}`, item]),
    );
    const { responses } = await ask(blobs, [...different.values()], signal);
    for (const { digest: message, status } of responses) {
      const item = different.get(`${message?.hash}/${message?.sizeBytes ?? 0}`);
      if (item) answers.set(item.digest.key, errorOfMessage(status) ?? 'stored');
    }
  }
  return items.map(
    ({ digest }) =>
      answers.get(digest.key) ??
      new StatusError(Code.INTERNAL, `BatchUpdateBlobs left out blob ${digest}`),
  );
}

function ask(
  { channel, instanceName }: RemoteBlobs,
  items: readonly SmallBlob[],
  signal: AbortSignal,
): Promise<BatchUpdateBlobsResponse> {
  const request = BatchUpdateBlobsRequest.fromPartial({
    instanceName,
    requests: items.map(({ digest, ...packed }) => ({ digest: digest.toMessage(), ...packed })),
    ...(items[0] && { digestFunction: items[0].digest.function.value }),
  });
  return channel.unary(rpc, request, { signal, deadlineMs: BLOB_CALL_DEADLINE_MS });
}
