import type { BinaryReader } from '@bufbuild/protobuf/wire';
import type { Log, LogFields } from '../base/log.ts';
import { HeldMemory, holdMemory, withHeldMemory } from '../base/memory.ts';
import { Code, StatusError } from '../base/status.ts';
import type { RequestMetadata } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { type Decodable, type Decoded, decodeWeighed } from '../tree/decode-message.ts';

/** How generated code writes one message type. */
export interface Encodable<T> {
  encode(message: T): { finish(): Uint8Array };
}

/** How it writes and reads one. */
export interface MessageType<T> extends Encodable<T>, Decodable<T> {
  decode(bytes: BinaryReader | Uint8Array): T;
}

/** What a service may know of the call it answers; nothing of the transport that brought it. */
export interface Call {
  /** Aborts when the client cancels, its deadline passes, or the connection is lost. */
  readonly signal: AbortSignal;
  /** Bound to the request id, the method, the invocation and the action. */
  readonly log: Log;
  /** From now on the call is a lasting one, as `MethodOptions` has it. */
  last(): void;
  /** Fields for all that is logged of this call from now on. */
  label(fields: LogFields): void;
  /** The request id: it names the call in the log, on the worker too, and in error texts. */
  readonly id: string;
  readonly requestMetadata: RequestMetadata | undefined;
  /** A text header of the request, by its lower-case name. */
  readonly header: (name: string) => string | undefined;
}

interface MethodOf<Kind extends string, Handle> {
  readonly kind: Kind;
  /** As on the wire: /package.Service/Method. */
  readonly path: string;
  readonly handle: Handle;
  /**
   * A call of it may go on for as long as a build does. When the server closes it is ended with
   * UNAVAILABLE rather than waited for, so that its client comes back to the next one (GEN-22).
   */
  readonly lasting?: boolean;
}

/** One rpc: its path, and an async function that answers it. Messages are bytes at this seam. */
export type Method =
  | MethodOf<'unary', (request: Uint8Array, call: Call) => Promise<Uint8Array>>
  | MethodOf<'server-stream', (request: Uint8Array, call: Call) => AsyncIterable<Uint8Array>>
  | MethodOf<
      'client-stream',
      (requests: AsyncIterable<Uint8Array>, call: Call) => Promise<Uint8Array>
    >
  | MethodOf<
      'bidi',
      (requests: AsyncIterable<Uint8Array>, call: Call) => AsyncIterable<Uint8Array>
    >;

/** The methods of one service. */
export type Service = readonly Method[];

/** Their full names, as `google.bytestream.ByteStream`, each once. */
export function serviceNamesOf(services: readonly Service[]): string[] {
  return [...new Set(services.flat().map(({ path }) => path.split('/')[1] ?? ''))];
}

export interface MethodOptions {
  readonly lasting?: boolean;
  /** Larger requests are refused; those of calls that may stay open, and which say so little, by default. */
  readonly requestBytesMax?: number;
}

/** Far more than a name and a digest. Each call that stays open keeps its request. */
const STREAM_REQUEST_BYTES_MAX = 64 * 1024;

/** One request, one response. */
export function unary<Request, Response>(
  path: string,
  requestType: Decodable<Request>,
  responseType: Encodable<Response>,
  answer: (request: Request, call: Call) => Promise<Response>,
  options: MethodOptions = {},
): Method {
  return {
    kind: 'unary',
    path,
    ...options,
    handle: (bytes, call) =>
      withHeldMemory(async () => {
        const { message, memoryBytes } = decode(path, requestType, bytes);
        holdMemory(memoryBytes);
        return responseType.encode(await answer(message, call)).finish();
      }),
  };
}

/** One request, many responses. */
export function serverStream<Request, Response>(
  path: string,
  requestType: Decodable<Request>,
  responseType: Encodable<Response>,
  answer: (request: Request, call: Call) => AsyncIterable<Response>,
  options: MethodOptions = {},
): Method {
  return {
    kind: 'server-stream',
    path,
    ...options,
    handle: async function* (bytes, call) {
      const held = new HeldMemory();
      try {
        const { requestBytesMax = STREAM_REQUEST_BYTES_MAX } = options;
        const { message, memoryBytes } = decode(path, requestType, bytes, requestBytesMax);
        held.add(memoryBytes);
        const responses = answer(message, call);
        for await (const response of responses) yield responseType.encode(response).finish();
      } finally {
        held.close();
      }
    },
  };
}

/** Many requests, one response, which may come before the requests end. */
export function clientStream<Request, Response>(
  path: string,
  requestType: Decodable<Request>,
  responseType: Encodable<Response>,
  answer: (requests: AsyncIterable<Request>, call: Call) => Promise<Response>,
): Method {
  return {
    kind: 'client-stream',
    path,
    handle: async (requests, call) => {
      const held = new HeldMemory();
      try {
        const decoded = decodeEach(path, requestType, requests, held);
        return responseType.encode(await answer(decoded, call)).finish();
      } finally {
        held.close();
      }
    },
  };
}

/** Requests and responses as they come. */
export function bidi<Request, Response>(
  path: string,
  requestType: Decodable<Request>,
  responseType: Encodable<Response>,
  answer: (requests: AsyncIterable<Request>, call: Call) => AsyncIterable<Response>,
  options: MethodOptions = {},
): Method {
  return {
    kind: 'bidi',
    path,
    ...options,
    handle: async function* (requests, call) {
      const held = new HeldMemory();
      try {
        const decoded = decodeEach(path, requestType, requests, held, options.requestBytesMax);
        const responses = answer(decoded, call);
        for await (const response of responses) yield responseType.encode(response).finish();
      } finally {
        held.close();
      }
    },
  };
}

/**
 * Each message counts as held until the next one is there: whoever takes it may keep it as long. No
 * generator, as that would keep the bytes of a message while it waits for the next.
 */
function decodeEach<Request>(
  path: string,
  type: Decodable<Request>,
  requests: AsyncIterable<Uint8Array>,
  held: HeldMemory,
  requestBytesMax = Infinity,
): AsyncIterable<Request> {
  const all = requests[Symbol.asyncIterator]();
  const end = { done: true as const, value: undefined };
  const iterator: AsyncIterator<Request, undefined> = {
    next: async () => {
      const next = await all.next();
      held.release();
      if (next.done) return end;
      const { message, memoryBytes } = decode(path, type, next.value, requestBytesMax);
      held.add(memoryBytes);
      return { value: message };
    },
    return: async () => {
      await all.return?.();
      return end;
    },
  };
  return { [Symbol.asyncIterator]: () => iterator };
}

/** What cannot be decoded is the client's mistake, which no retry mends: INVALID_ARGUMENT (ERR-02). */
function decode<Request>(
  path: string,
  type: Decodable<Request>,
  bytes: Uint8Array,
  bytesMax = Infinity,
): Decoded<Request> {
  const what = `the request for ${path}`;
  if (bytes.length <= bytesMax) return decodeWeighed(type, bytes, what);
  throw new StatusError(
    Code.INVALID_ARGUMENT,
    `${what} has ${bytes.length} bytes; at most ${bytesMax} are taken`,
  );
}
