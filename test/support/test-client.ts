import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import type { TestContext } from 'node:test';
import type { Encodable } from '../../src/rpc/method.ts';
import { type Decodable, decodeMessage } from '../../src/tree/decode-message.ts';

export interface CallOptions {
  readonly metadata?: Readonly<Record<string, string | Buffer>>;
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
}

const asBuffer = (bytes: Uint8Array) => Buffer.from(bytes);
const asIs = (bytes: Buffer) => bytes;

/** A plain gRPC client that knows methods by their paths, as any other program would call them. */
export class TestClient {
  readonly #client: Client;

  constructor(t: Pick<TestContext, 'after'>, address: string) {
    this.#client = new Client(address, credentials.createInsecure(), {
      'grpc.max_receive_message_length': -1,
      'grpc.max_send_message_length': -1,
      'grpc.use_local_subchannel_pool': 1,
    });
    t.after(() => this.#client.close());
  }

  /** Fails with a ServiceError: `code`, `details`, `metadata`. */
  async unary<Request, Response>(
    path: string,
    requestType: Encodable<Request>,
    responseType: Decodable<Response>,
    request: Request,
    options: CallOptions = {},
  ): Promise<Response> {
    const bytes = await this.raw(path, requestType.encode(request).finish(), options);
    return decodeMessage(responseType, bytes, path);
  }

  /** The bytes of the response to a request of any bytes. */
  raw(path: string, request: Uint8Array, options: CallOptions = {}): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const call = this.#client.makeUnaryRequest(
        path,
        asBuffer,
        asIs,
        request,
        metadataOf(options),
        callOptionsOf(options),
        (error: ServiceError | null, response?: Buffer) => {
          if (error) reject(error);
          else resolve(response ?? new Uint8Array());
        },
      );
      options.signal?.addEventListener('abort', () => call.cancel());
    });
  }

  async *serverStream<Request, Response>(
    path: string,
    requestType: Encodable<Request>,
    responseType: Decodable<Response>,
    request: Request,
    options: CallOptions = {},
  ): AsyncGenerator<Response> {
    const bytes = requestType.encode(request).finish();
    for await (const response of this.rawStream(path, bytes, options)) {
      yield decodeMessage(responseType, response, path);
    }
  }

  rawStream(path: string, request: Uint8Array, options: CallOptions = {}): AsyncIterable<Buffer> {
    const call = this.#client.makeServerStreamRequest(
      path,
      asBuffer,
      asIs,
      request,
      metadataOf(options),
      callOptionsOf(options),
    );
    options.signal?.addEventListener('abort', () => call.cancel());
    return call;
  }

  /** A stream of requests; `response` settles with the answer, `call.write` sends. */
  clientStream<Request, Response>(
    path: string,
    requestType: Encodable<Request>,
    responseType: Decodable<Response>,
    options: CallOptions = {},
  ) {
    const { promise, resolve, reject } = Promise.withResolvers<Response>();
    const call = this.#client.makeClientStreamRequest(
      path,
      (request: Request) => asBuffer(requestType.encode(request).finish()),
      (bytes: Buffer) => decodeMessage(responseType, bytes, path),
      metadataOf(options),
      callOptionsOf(options),
      (error: ServiceError | null, response?: Response) => {
        if (error) reject(error);
        else resolve(response as Response);
      },
    );
    // A test may look at it late.
    promise.catch(() => {});
    return { call, response: promise };
  }

  bidi<Request, Response>(
    path: string,
    requestType: Encodable<Request>,
    responseType: Decodable<Response>,
    options: CallOptions = {},
  ) {
    return this.#client.makeBidiStreamRequest(
      path,
      (request: Request) => asBuffer(requestType.encode(request).finish()),
      (bytes: Buffer) => decodeMessage(responseType, bytes, path),
      metadataOf(options),
      callOptionsOf(options),
    );
  }
}

function metadataOf({ metadata = {} }: CallOptions): Metadata {
  const result = new Metadata();
  for (const [name, value] of Object.entries(metadata)) result.set(name, value);
  return result;
}

function callOptionsOf({ deadlineMs }: CallOptions) {
  return deadlineMs === undefined ? {} : { deadline: new Date(Date.now() + deadlineMs) };
}
