import type { Chunks } from '../../base/chunks.ts';
import { StatusError } from '../../base/status.ts';
import type {
  LogRange,
  LogStatus,
  LogStreamNames,
  LogStreams,
  LogWrite,
} from '../../logs/log-streams.ts';
import {
  CreateLogStreamRequest,
  LogStream,
} from '../../proto/build/bazel/remote/logstream/v1/remote_logstream.ts';
import {
  QueryWriteStatusRequest,
  QueryWriteStatusResponse,
  ReadRequest,
  ReadResponse,
  type WriteRequest,
  WriteResponse,
} from '../../proto/google/bytestream/bytestream.ts';
import { writeRequestType } from '../byte-stream-messages.ts';
import type { Channel, Rpc } from './channel.ts';
import { Backoff, isBreak } from './retries.ts';

const createRpc: Rpc<CreateLogStreamRequest, LogStream> = {
  path: '/build.bazel.remote.logstream.v1.LogStreamService/CreateLogStream',
  request: CreateLogStreamRequest,
  response: LogStream,
};

const writeRpc: Rpc<WriteRequest, WriteResponse> = {
  path: '/google.bytestream.ByteStream/Write',
  request: writeRequestType,
  response: WriteResponse,
};

const statusRpc: Rpc<QueryWriteStatusRequest, QueryWriteStatusResponse> = {
  path: '/google.bytestream.ByteStream/QueryWriteStatus',
  request: QueryWriteStatusRequest,
  response: QueryWriteStatusResponse,
};

const readRpc: Rpc<ReadRequest, ReadResponse> = {
  path: '/google.bytestream.ByteStream/Read',
  request: ReadRequest,
  response: ReadResponse,
};

/** These calls carry next to nothing, and a stream is of no use when it comes late. */
const callDeadlineMs = 10_000;
/** Well below the 4 MiB that servers take. */
const messageBytesMax = 2 ** 20;
const nothing = new Uint8Array();

/**
 * The log streams behind a server. A read that breaks goes on where it broke. A write that breaks fails:
 * the bytes on their way are gone, and its caller has them.
 */
export class RemoteLogStreams implements LogStreams {
  readonly #channel: Channel;

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  async create(parent: string, signal: AbortSignal): Promise<LogStreamNames> {
    const options = { signal, deadlineMs: callDeadlineMs };
    const { name, writeResourceName } = await this.#channel.unary(createRpc, { parent }, options);
    return { name, writeName: writeResourceName };
  }

  async write(
    writeName: string,
    { offset, isLast }: LogWrite,
    chunks: Chunks,
    signal: AbortSignal,
  ): Promise<number> {
    async function* requests(): AsyncIterable<WriteRequest> {
      let writeOffset = offset;
      // At once: until then the stream has no writer.
      yield { resourceName: writeName, writeOffset, finishWrite: false, data: nothing };
      for await (const chunk of chunks) {
        for (let at = 0; at < chunk.length; at += messageBytesMax) {
          const data = chunk.subarray(at, at + messageBytesMax);
          yield { resourceName: '', writeOffset, finishWrite: false, data };
          writeOffset += data.length;
        }
      }
      yield { resourceName: '', writeOffset, finishWrite: isLast(), data: nothing };
    }
    const { committedSize } = await this.#channel.clientStream(writeRpc, requests(), { signal });
    return committedSize;
  }

  async status(resourceName: string, signal: AbortSignal): Promise<LogStatus> {
    const options = { signal, deadlineMs: callDeadlineMs };
    const status = await this.#channel.unary(statusRpc, { resourceName }, options);
    return { committedBytes: status.committedSize, isFinished: status.complete };
  }

  async *read(name: string, { offset, limitBytes }: LogRange, signal: AbortSignal): Chunks {
    const backoff = new Backoff(this.#channel.retries);
    let at = offset;
    for (;;) {
      try {
        const range = { offset: at, limitBytes: limitBytes && limitBytes - (at - offset) };
        for await (const data of this.#readOnce(name, range, signal)) {
          at += data.length;
          backoff.reset();
          yield data;
        }
        return;
      } catch (thrown) {
        const error = StatusError.from(thrown);
        if (limitBytes > 0 && at - offset >= limitBytes) return;
        if (!isBreak(error)) throw error;
        await backoff.pause(error, signal);
      }
    }
  }

  async *#readOnce(
    resourceName: string,
    { offset: readOffset, limitBytes: readLimit }: LogRange,
    signal: AbortSignal,
  ): Chunks {
    const request: ReadRequest = { resourceName, readOffset, readLimit };
    for await (const { data } of this.#channel.serverStream(readRpc, request, { signal })) {
      if (data.length > 0) yield data;
    }
  }
}
