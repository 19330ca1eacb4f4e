import { once } from 'node:events';
import { type ClientHttp2Session, connect, constants, type IncomingHttpHeaders } from 'node:http2';

export interface RawRequest {
  readonly path: string;
  /** What is sent, one piece after the other; see `framed`. */
  readonly pieces: readonly Buffer[];
  readonly headers?: Readonly<Record<string, string>>;
  /** What follows the pieces: the end of the requests unless given. `none` waits without a word. */
  readonly ending?: 'half-close' | 'cancel' | 'none';
  /** When the call is given up; one that is expected to last is cancelled then. */
  readonly patienceMs: number;
}

export interface RawAnswer {
  /** The grpc-status; undefined when the stream ended without one. */
  readonly code: number | undefined;
  readonly message: string;
  readonly responses: readonly Buffer[];
  readonly cancelled: boolean;
  readonly late: boolean;
}

/** A message as gRPC frames it. `claimed` lies about its length, `flag` about its compression. */
export function framed(message: Buffer, claimed = message.length, flag = 0): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flag);
  head.writeUInt32BE(claimed, 1);
  return Buffer.concat([head, message]);
}

/** What a caller keeps of one answer: a Read may send far more. */
const RESPONSE_BYTES_MAX = 8 * 2 ** 20;

/** gRPC calls of bytes that no gRPC library would send. */
export class RawCalls {
  readonly #session: ClientHttp2Session;
  #broken: Error | undefined;

  private constructor(session: ClientHttp2Session) {
    this.#session = session;
    session.on('error', (error: Error) => (this.#broken = error));
  }

  static async open(address: string): Promise<RawCalls> {
    const session = connect(`http://${address}`, { settings: { initialWindowSize: 2 ** 24 } });
    const calls = new RawCalls(session);
    await once(session, 'connect');
    return calls;
  }

  /** Why the connection is of no use any more, if so. */
  get broken(): string | undefined {
    if (this.#broken) return this.#broken.message;
    return this.#session.closed || this.#session.destroyed ? 'closed by the server' : undefined;
  }

  close(): void {
    this.#session.destroy();
  }

  call({ path, pieces, headers, ending, patienceMs }: RawRequest): Promise<RawAnswer> {
    const stream = this.#session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    });
    const { promise, resolve } = Promise.withResolvers<RawAnswer>();
    const seen = { code: undefined as number | undefined, message: '', cancelled: false };
    const cancel = () => {
      seen.cancelled = true;
      stream.close(constants.NGHTTP2_CANCEL);
    };
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      cancel();
    }, patienceMs);
    const parts: Buffer[] = [];
    let bytes = 0;
    const onHeaders = (all: IncomingHttpHeaders) => {
      if (all['grpc-status'] === undefined) return;
      seen.code = Number(all['grpc-status']);
      const text = all['grpc-message'];
      if (typeof text === 'string') seen.message = decodeURIComponent(text);
    };
    stream.on('response', onHeaders);
    stream.on('trailers', onHeaders);
    stream.on('data', (part: Buffer) => {
      bytes += part.length;
      if (bytes < RESPONSE_BYTES_MAX) parts.push(part);
      else cancel();
    });
    stream.on('error', (error) => (seen.message ||= error.message));
    stream.on('close', () => {
      clearTimeout(timer);
      resolve({ ...seen, responses: messagesOf(Buffer.concat(parts)), late });
    });
    for (const piece of pieces) stream.write(piece);
    if (ending === 'cancel') stream.write(Buffer.of(), cancel);
    else if (ending !== 'none') stream.end();
    return promise;
  }
}

function messagesOf(bytes: Buffer): Buffer[] {
  const messages: Buffer[] = [];
  for (let at = 0; at + 5 <= bytes.length;) {
    const end = at + 5 + bytes.readUInt32BE(at + 1);
    if (end > bytes.length) break;
    messages.push(bytes.subarray(at + 5, end));
    at = end;
  }
  return messages;
}
