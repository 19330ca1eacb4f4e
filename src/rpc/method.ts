import type { Log } from '../base/log.ts';
import type { RequestMetadata } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';

/** A message type as generated code has it. */
export interface MessageType<T> {
  encode(message: T): { finish(): Uint8Array };
  decode(bytes: Uint8Array): T;
}

/** What a service may know of the call it answers; nothing of the transport that brought it. */
export interface Call {
  /** Aborts when the client cancels, its deadline passes, or the connection is lost. */
  readonly signal: AbortSignal;
  /** Bound to the request id, method, invocation and action. */
  readonly log: Log;
  readonly requestMetadata: RequestMetadata | undefined;
  /** A text header of the request, by its lower-case name. */
  readonly header: (name: string) => string | undefined;
}

interface MethodOf<Kind extends string, Handle> {
  readonly kind: Kind;
  /** As on the wire: /package.Service/Method. */
  readonly path: string;
  readonly handle: Handle;
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
