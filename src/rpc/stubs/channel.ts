import { Channel as GrpcChannel, credentials, Metadata } from '@grpc/grpc-js';
import { Code, StatusError } from '../../base/status.ts';
import { version } from '../../base/version.ts';
import { RequestMetadata } from '../../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { type Decodable, decodeMessage } from '../../tree/decode-message.ts';
import type { Encodable } from '../method.ts';
import type { RetryPolicy } from './retries.ts';
import { WireCall } from './wire-call.ts';

/** One method of a service, as a client sees it. */
export interface Rpc<Request, Response> {
  /** As on the wire: /package.Service/Method. */
  readonly path: string;
  readonly request: Encodable<Request>;
  /** A message, or a function of the bytes as they came. */
  readonly response: Decodable<Response> | ((bytes: Uint8Array) => Response);
}

export interface CallOptions {
  readonly signal: AbortSignal;
  /** How long the call may take, for calls that end by themselves; the server is told too. */
  readonly deadlineMs?: number;
  /** Text, or bytes under a name that ends in `-bin`. */
  readonly headers?: Readonly<Record<string, string | Buffer>>;
  /** On whose behalf, when that is not this program's own invocation. */
  readonly requestMetadata?: RequestMetadata | undefined;
}

export interface ChannelOptions {
  readonly retries: RetryPolicy;
  /** The run of this program, on each of its calls; servers group by it (MD-04). */
  readonly invocationId: string;
  readonly keepalive?: Keepalive;
}

/** When a connection without answers is taken for dead. */
export interface Keepalive {
  /** How often it is asked whether the other side is there. */
  readonly everyMs: number;
  /** How long that may take to answer. */
  readonly timeoutMs: number;
}

/** A connection to a server; made when first used, and again when it is lost. */
export interface Channel {
  readonly retries: RetryPolicy;
  unary<Q, S>(rpc: Rpc<Q, S>, request: Q, options: CallOptions): Promise<S>;
  serverStream<Q, S>(rpc: Rpc<Q, S>, request: Q, options: CallOptions): AsyncIterable<S>;
  /** Resolves as soon as the server has answered, maybe before it has taken all requests. */
  clientStream<Q, S>(rpc: Rpc<Q, S>, requests: AsyncIterable<Q>, options: CallOptions): Promise<S>;
  bidi<Q, S>(rpc: Rpc<Q, S>, requests: AsyncIterable<Q>, options: CallOptions): AsyncIterable<S>;
  close(): void;
}

const REQUEST_METADATA = 'build.bazel.remote.execution.v2.requestmetadata-bin';

const grpcOptions = {
  // HTTP/2's own 64 KiB would allow one window per round trip: 6 MB/s at 10 ms.
  'grpc-node.flow_control_window': 16 * 2 ** 20,
  // Servers keep to 4 MiB (GEN-09), but not all: what a server sends is taken up to here.
  'grpc.max_receive_message_length': 64 * 2 ** 20,
  'grpc.max_send_message_length': -1,
  // Retries are made above, where it is known what may be repeated.
  'grpc.enable_retries': 0,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 5000,
  // A connection of its own, which `close` closes.
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_channelz': 0,
  // The server is where the configuration says: no variable sends calls elsewhere, no DNS record adds to it.
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
};

/** A connection that is dead is noticed within these two (SC-28), not after TCP's quarter of an hour. */
const defaultKeepalive: Keepalive = { everyMs: 20_000, timeoutMs: 15_000 };

/** A channel to `address`, which is `host:port`, in plaintext. Errors of calls are StatusErrors. */
export function connectChannel(address: string, options: ChannelOptions): Channel {
  return new WireChannel(address, options);
}

class WireChannel implements Channel {
  readonly #channel: GrpcChannel;
  readonly #ownMetadata: Buffer;
  readonly retries: RetryPolicy;

  constructor(address: string, options: ChannelOptions) {
    const { retries, invocationId, keepalive = defaultKeepalive } = options;
    this.#channel = new GrpcChannel(address, credentials.createInsecure(), {
      ...grpcOptions,
      'grpc.keepalive_time_ms': keepalive.everyMs,
      'grpc.keepalive_timeout_ms': keepalive.timeoutMs,
    });
    this.retries = retries;
    this.#ownMetadata = encoded(
      RequestMetadata.fromPartial({
        toolDetails: { toolName: 'expbuild', toolVersion: version },
        toolInvocationId: invocationId,
      }),
    );
  }

  async unary<Q, S>(rpc: Rpc<Q, S>, request: Q, options: CallOptions): Promise<S> {
    const call = this.#start(rpc.path, options);
    call.sendOnly(rpc.request.encode(request).finish());
    return onlyResponse(rpc, call);
  }

  async *serverStream<Q, S>(rpc: Rpc<Q, S>, request: Q, options: CallOptions): AsyncIterable<S> {
    const call = this.#start(rpc.path, options);
    call.sendOnly(rpc.request.encode(request).finish());
    yield* responses(rpc, call);
  }

  async clientStream<Q, S>(
    rpc: Rpc<Q, S>,
    requests: AsyncIterable<Q>,
    options: CallOptions,
  ): Promise<S> {
    const call = this.#start(rpc.path, options);
    const sending = call.sendAll(encodeEach(rpc, requests));
    try {
      return await onlyResponse(rpc, call);
    } finally {
      await sending;
    }
  }

  async *bidi<Q, S>(
    rpc: Rpc<Q, S>,
    requests: AsyncIterable<Q>,
    options: CallOptions,
  ): AsyncIterable<S> {
    const call = this.#start(rpc.path, options);
    const sending = call.sendAll(encodeEach(rpc, requests));
    try {
      yield* responses(rpc, call);
    } finally {
      await sending;
    }
  }

  close(): void {
    this.#channel.close();
  }

  #start(path: string, options: CallOptions): WireCall {
    const { deadlineMs = Infinity, headers = {}, requestMetadata, signal } = options;
    // Before there is a call, whose timer would keep the program alive for as long as its deadline.
    if (signal.aborted) throw StatusError.from(signal.reason);
    const metadata = new Metadata();
    metadata.set(REQUEST_METADATA, requestMetadata ? encoded(requestMetadata) : this.#ownMetadata);
    for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
    const deadline = deadlineMs === Infinity ? Infinity : this.retries.clock.now() + deadlineMs;
    const call = this.#channel.createCall(path, deadline, undefined, null, undefined);
    return new WireCall(call, path, metadata, signal);
  }
}

async function* encodeEach<Q>(
  { request }: Rpc<Q, unknown>,
  messages: AsyncIterable<Q>,
): AsyncIterable<Uint8Array> {
  for await (const message of messages) yield request.encode(message).finish();
}

async function* responses<S>(rpc: Rpc<never, S>, call: WireCall): AsyncIterable<S> {
  try {
    for (;;) {
      const message = await call.receive();
      if (!message) return;
      yield decode(rpc, message);
    }
  } finally {
    call.fail(new StatusError(Code.CANCELLED, `${rpc.path}: the rest is not wanted`));
  }
}

async function onlyResponse<S>(rpc: Rpc<never, S>, call: WireCall): Promise<S> {
  for await (const response of responses(rpc, call)) {
    // The status comes after the message, and counts more.
    if ((await call.receive()) === undefined) return response;
    throw new StatusError(Code.INTERNAL, `${rpc.path} answered more than once`);
  }
  throw new StatusError(Code.INTERNAL, `${rpc.path} ended without an answer`);
}

/** Within the bounds of `decodeMessage`: a server, or what stands in its place, could else end this program. */
function decode<S>({ path, response }: Rpc<never, S>, bytes: Uint8Array): S {
  if (typeof response === 'function') return response(bytes);
  try {
    return decodeMessage(response, bytes, `the answer to ${path}`);
  } catch (thrown) {
    const { message } = StatusError.from(thrown);
    throw new StatusError(Code.INTERNAL, message, { cause: thrown });
  }
}

function encoded(metadata: RequestMetadata): Buffer {
  return Buffer.from(RequestMetadata.encode(metadata).finish());
}
