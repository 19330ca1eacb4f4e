import { Code, StatusError } from '../../base/status.ts';
import {
  QueryWriteStatusRequest,
  QueryWriteStatusResponse,
} from '../../proto/google/bytestream/bytestream.ts';
import type { Rpc } from './channel.ts';
import { BLOB_CALL_DEADLINE_MS, type RemoteBlobs } from './remote-blobs.ts';
import { routingHeader } from './routing-header.ts';

const rpc: Rpc<QueryWriteStatusRequest, QueryWriteStatusResponse> = {
  path: '/google.bytestream.ByteStream/QueryWriteStatus',
  request: QueryWriteStatusRequest,
  response: QueryWriteStatusResponse,
};

/**
 * How much of an upload the server has. Nothing, when it does not know the upload or cannot tell
 * (CLI-08).
 */
export async function queryWriteStatus(
  { channel }: RemoteBlobs,
  resourceName: string,
  signal: AbortSignal,
): Promise<Pick<QueryWriteStatusResponse, 'committedSize' | 'complete'>> {
  const request = QueryWriteStatusRequest.fromPartial({ resourceName });
  const headers = routingHeader(resourceName);
  try {
    return await channel.unary(rpc, request, {
      signal,
      headers,
      deadlineMs: BLOB_CALL_DEADLINE_MS,
    });
  } catch (thrown) {
    const { code } = StatusError.from(thrown);
    if (code !== Code.UNIMPLEMENTED && code !== Code.NOT_FOUND) throw thrown;
    return { committedSize: 0, complete: false };
  }
}
