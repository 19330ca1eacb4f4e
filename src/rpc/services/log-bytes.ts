import { Code, StatusError } from '../../base/status.ts';
import type { LogStreams } from '../../logs/log-streams.ts';
import type {
  QueryWriteStatusResponse,
  ReadRequest,
  ReadResponse,
  WriteResponse,
} from '../../proto/google/bytestream/bytestream.ts';
import type { Call } from '../method.ts';
import type { WriteRequests } from './write-requests.ts';

/** The bytes of a log stream as they come, until it is finished (LOG-03, LOG-06, LOG-07). */
export async function* readLog(
  logs: LogStreams,
  { resourceName, readOffset: offset, readLimit: limitBytes }: ReadRequest,
  call: Call,
): AsyncIterable<ReadResponse> {
  if (limitBytes < 0) {
    throw new StatusError(Code.INVALID_ARGUMENT, `read_limit ${limitBytes} is negative`);
  }
  if (offset < 0) {
    throw new StatusError(Code.OUT_OF_RANGE, `read_offset ${offset} is negative`);
  }
  call.last();
  for await (const data of logs.read(resourceName, { offset, limitBytes }, call.signal)) {
    yield { data };
  }
}

/** Appends to a log stream, and finishes it with `finish_write` (LOG-02, LOG-04, LOG-05). */
export async function writeLog(
  logs: LogStreams,
  requests: WriteRequests,
  call: Call,
): Promise<WriteResponse> {
  call.last();
  const { resourceName, firstOffset: offset } = requests;
  const write = { offset, isLast: () => requests.finished };
  return { committedSize: await logs.write(resourceName, write, requests.data(), call.signal) };
}

/** How far a log stream has come (LOG-13). */
export async function logStatus(
  logs: LogStreams,
  resourceName: string,
  { signal }: Call,
): Promise<QueryWriteStatusResponse> {
  const { committedBytes, isFinished } = await logs.status(resourceName, signal);
  return { committedSize: committedBytes, complete: isFinished };
}
