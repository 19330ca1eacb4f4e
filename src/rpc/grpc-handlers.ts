import type {
  handleBidiStreamingCall,
  handleClientStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
} from '@grpc/grpc-js';
import { once } from 'node:events';
import { grpcError } from './grpc-status.ts';
import type { Method } from './method.ts';
import type { GrpcCall, OpenCall } from './open-call.ts';

/** Starts the bookkeeping of a call that has arrived. */
export type Open = (method: Method, grpcCall: GrpcCall) => OpenCall;

type Of<Kind extends Method['kind']> = Extract<Method, { readonly kind: Kind }>;
type Bytes = Uint8Array;

/** How grpc-js calls a unary method. Whatever it throws becomes a status. */
export function unaryHandler(method: Of<'unary'>, open: Open): handleUnaryCall<Bytes, Bytes> {
  return (grpcCall, respond) => {
    const call = open(method, grpcCall);
    method.handle(grpcCall.request, call).then(
      (response) => {
        call.succeed();
        respond(null, response);
      },
      (thrown: unknown) => respond(grpcError(call.fail(thrown), call.id)),
    );
  };
}

export function clientStreamHandler(
  method: Of<'client-stream'>,
  open: Open,
): handleClientStreamingCall<Bytes, Bytes> {
  return (grpcCall, respond) => {
    const call = open(method, grpcCall);
    method.handle(requestsOf(grpcCall), call).then(
      (response) => {
        call.succeed();
        respond(null, response);
      },
      (thrown: unknown) => respond(grpcError(call.fail(thrown), call.id)),
    );
  };
}

export function serverStreamHandler(
  method: Of<'server-stream'>,
  open: Open,
): handleServerStreamingCall<Bytes, Bytes> {
  return (grpcCall) => {
    const call = open(method, grpcCall);
    void respondEach(method.handle(grpcCall.request, call), grpcCall, call);
  };
}

export function bidiHandler(method: Of<'bidi'>, open: Open): handleBidiStreamingCall<Bytes, Bytes> {
  return (grpcCall) => {
    const call = open(method, grpcCall);
    void respondEach(method.handle(requestsOf(grpcCall), call), grpcCall, call);
  };
}

/** Does not end the call when its reader has seen enough: an early answer still goes out (BS-40). */
function requestsOf(stream: {
  iterator(options: { readonly destroyOnReturn: boolean }): NodeJS.AsyncIterator<Bytes>;
}): AsyncIterable<Bytes> {
  return stream.iterator({ destroyOnReturn: false });
}

/** Sends responses no faster than the client takes them (BS-18). */
async function respondEach(
  responses: AsyncIterable<Bytes>,
  grpcCall: NodeJS.EventEmitter & { write(response: Bytes): boolean; end(): void },
  call: OpenCall,
): Promise<void> {
  try {
    for await (const response of responses) {
      call.signal.throwIfAborted();
      if (!grpcCall.write(response)) {
        await once(grpcCall, 'drain', { signal: call.signal });
      }
    }
    call.signal.throwIfAborted();
    call.succeed();
    grpcCall.end();
  } catch (thrown) {
    grpcCall.emit('error', grpcError(call.fail(thrown), call.id));
  }
}
