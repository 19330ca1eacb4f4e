import {
  logVerbosity,
  Server,
  ServerCredentials,
  setLogVerbosity,
  type UntypedHandleCall,
} from '@grpc/grpc-js';
import { setDefaultHighWaterMark } from 'node:stream';
import { Code, StatusError } from '../base/status.ts';
import {
  bidiHandler,
  clientStreamHandler,
  type Open,
  serverStreamHandler,
  unaryHandler,
} from './grpc-handlers.ts';
import { openSessions } from './http2-sessions.ts';
import type { ServerLimits } from './limits.ts';
import type { Method, Service } from './method.ts';
import { OpenCall, type OpenCallOptions } from './open-call.ts';

export interface ListenOptions extends OpenCallOptions {
  /** `host:port`, where port 0 takes a free one, or `unix:path`. */
  readonly address: string;
  readonly services: readonly Service[];
  readonly limits: ServerLimits;
}

/** A server that takes calls. */
export interface Listener {
  /** As given, with the port that was taken. */
  readonly address: string;
  /**
   * Takes no more calls, ends the lasting ones with UNAVAILABLE, lets the others finish for
   * `graceMs`, then ends them too (GEN-22). Resolves when nothing is left open.
   */
  close(graceMs: number): Promise<void>;
}

/** Messages of a stream that grpc-js reads ahead, and keeps to be sent: each may be some MiB. */
const STREAM_MESSAGES_MAX = 2;

/** Serves `services` by gRPC over plaintext HTTP/2. Fails with UNAVAILABLE if the address is taken. */
export async function listen(options: ListenOptions): Promise<Listener> {
  const { limits } = options;
  // What it has to say comes as errors as well, and goes to our own log.
  setLogVerbosity(logVerbosity.NONE);
  // Its streams know no other way, and their own default is 16.
  setDefaultHighWaterMark(true, STREAM_MESSAGES_MAX);
  const server = new Server({
    'grpc.max_receive_message_length': limits.requestBytesMax,
    'grpc.max_send_message_length': -1,
    'grpc.max_concurrent_streams': limits.concurrentCallsMax,
    'grpc.keepalive_time_ms': limits.keepaliveTimeMs,
    'grpc.keepalive_timeout_ms': limits.keepaliveTimeoutMs,
    'grpc.enable_channelz': 0,
  });
  const connections = openSessions(server, limits, options.clock, options.log);
  const lasting = new Set<OpenCall>();
  const open: Open = (method, grpcCall) =>
    new OpenCall(method, grpcCall, options, (call) => {
      lasting.add(call);
      grpcCall.once('cancelled', () => lasting.delete(call));
    });
  for (const method of options.services.flat()) register(server, method, open);
  const port = await bind(server, options.address);
  return {
    address: options.address.replace(/:0$/, `:${port}`),
    close: async (graceMs) => {
      const drained = new Promise<void>((resolve) => {
        server.tryShutdown(() => resolve());
      });
      const unavailable = new StatusError(Code.UNAVAILABLE, 'the server is shutting down');
      for (const call of lasting) call.abort(unavailable);
      const waiting = new AbortController();
      const expired = options.clock.sleep(graceMs, waiting.signal).catch(() => {});
      await Promise.race([drained, expired]);
      waiting.abort();
      server.forceShutdown();
      connections.destroy();
      await drained;
    },
  };
}

function register(server: Server, method: Method, open: Open): void {
  const add = (type: string, handler: UntypedHandleCall) => {
    const added = server.register(method.path, handler, toBuffer, (bytes: Buffer) => bytes, type);
    if (!added) throw new Error(`two services have the method ${method.path}`);
  };
  switch (method.kind) {
    case 'unary':
      add('unary', unaryHandler(method, open));
      break;
    case 'client-stream':
      add('clientStream', clientStreamHandler(method, open));
      break;
    case 'server-stream':
      add('serverStream', serverStreamHandler(method, open));
      break;
    case 'bidi':
      add('bidi', bidiHandler(method, open));
      break;
  }
}

function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function bind(server: Server, address: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, port) => {
      if (error) {
        reject(new StatusError(Code.UNAVAILABLE, `cannot listen on ${address}: ${error.message}`));
      } else {
        resolve(port);
      }
    });
  });
}
