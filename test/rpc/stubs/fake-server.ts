import {
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  Metadata,
  Server,
  ServerCredentials,
  type UntypedHandleCall,
} from '@grpc/grpc-js';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { systemClock } from '../../../src/base/clock.ts';
import { StatusError } from '../../../src/base/status.ts';
import { Status } from '../../../src/proto/google/rpc/status.ts';
import { type Channel, connectChannel, type Keepalive } from '../../../src/rpc/stubs/channel.ts';
import { defaultRetryOptions } from '../../../src/rpc/stubs/retries.ts';

interface Type<T> {
  encode(message: T): { finish(): Uint8Array };
  decode(bytes: Uint8Array): T;
}

/** One method of a fake server: its messages are encoded and decoded by grpc-js. */
interface FakeMethod {
  readonly path: string;
  readonly register: (server: Server) => void;
}

export function unary<Q, S>(
  path: string,
  request: Type<Q>,
  response: Type<S>,
  answer: (request: Q, metadata: Metadata) => Promise<S> | S,
): FakeMethod {
  const handler: handleUnaryCall<Q, S> = (call, respond) => {
    Promise.try(answer, call.request, call.metadata).then(
      (message) => respond(null, message),
      (thrown: unknown) => respond(grpcError(thrown)),
    );
  };
  return method(path, request, response, 'unary', handler as UntypedHandleCall);
}

export function serverStream<Q, S>(
  path: string,
  request: Type<Q>,
  response: Type<S>,
  answer: (request: Q, metadata: Metadata, signal: AbortSignal) => AsyncIterable<S>,
): FakeMethod {
  const handler: handleServerStreamingCall<Q, S> = (call) => {
    const cancelled = new AbortController();
    call.on('cancelled', () => cancelled.abort());
    void sendAll(call, answer(call.request, call.metadata, cancelled.signal), cancelled.signal);
  };
  return method(path, request, response, 'serverStream', handler as UntypedHandleCall);
}

export function clientStream<Q, S>(
  path: string,
  request: Type<Q>,
  response: Type<S>,
  answer: (requests: AsyncIterable<Q>, metadata: Metadata) => Promise<S>,
): FakeMethod {
  const handler: handleClientStreamingCall<Q, S> = (call, respond) => {
    const requests = call.iterator({ destroyOnReturn: false }) as AsyncIterable<Q>;
    answer(requests, call.metadata).then(
      (message) => respond(null, message),
      (thrown: unknown) => respond(grpcError(thrown)),
    );
  };
  return method(path, request, response, 'clientStream', handler as UntypedHandleCall);
}

export function bidi<Q, S>(
  path: string,
  request: Type<Q>,
  response: Type<S>,
  answer: (requests: AsyncIterable<Q>) => AsyncIterable<S>,
): FakeMethod {
  const handler: handleBidiStreamingCall<Q, S> = (call) => {
    const cancelled = new AbortController();
    call.on('cancelled', () => cancelled.abort());
    const requests = call.iterator({ destroyOnReturn: false }) as AsyncIterable<Q>;
    void sendAll(call, answer(requests), cancelled.signal);
  };
  return method(path, request, response, 'bidi', handler as UntypedHandleCall);
}

/** Serves the methods on a free port, and gives a channel that is connected to it. */
export async function fakeServer(t: TestContext, methods: readonly FakeMethod[]): Promise<Channel> {
  const port = await fakeServerPort(t, methods);
  return connectTo(t, `127.0.0.1:${port}`);
}

export async function fakeServerPort(
  t: TestContext,
  methods: readonly FakeMethod[],
): Promise<number> {
  const server = new Server({ 'grpc.max_receive_message_length': 5 * 2 ** 20 });
  for (const { register } of methods) register(server);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  t.after(() => server.forceShutdown());
  return port;
}

/** A channel whose retries hardly wait. */
export function connectTo(t: TestContext, address: string, keepalive?: Keepalive): Channel {
  const channel = connectChannel(address, {
    ...(keepalive && { keepalive }),
    invocationId: 'test-invocation',
    retries: { ...defaultRetryOptions, firstDelayMs: 1, clock: systemClock, random: () => 0.5 },
  });
  t.after(() => channel.close());
  return channel;
}

function method<Q, S>(
  path: string,
  request: Type<Q>,
  response: Type<S>,
  kind: string,
  handler: UntypedHandleCall,
): FakeMethod {
  const serialize = (message: S) => Buffer.from(response.encode(message).finish());
  const deserialize = (bytes: Buffer) => request.decode(bytes);
  return {
    path,
    register: (server) => server.register(path, handler, serialize, deserialize, kind),
  };
}

async function sendAll<S>(
  call: NodeJS.EventEmitter & { write(message: S): boolean; end(): void },
  messages: AsyncIterable<S>,
  signal: AbortSignal,
): Promise<void> {
  try {
    for await (const message of messages) {
      if (signal.aborted) return;
      if (!call.write(message)) await once(call, 'drain', { signal });
    }
    call.end();
  } catch (thrown) {
    if (!signal.aborted) call.emit('error', grpcError(thrown));
  }
}

function grpcError(thrown: unknown) {
  const { code, message, details } = StatusError.from(thrown);
  const metadata = new Metadata();
  if (details.length > 0) {
    const status = Status.fromPartial({ code, message, details: [...details] });
    metadata.set('grpc-status-details-bin', Buffer.from(Status.encode(status).finish()));
  }
  return Object.assign(new Error(message), { code, details: message, metadata });
}
