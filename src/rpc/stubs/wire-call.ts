import {
  type ChannelInterface,
  type Metadata,
  type StatusObject,
  status as grpcStatus,
} from '@grpc/grpc-js';
import { StatusError } from '../../base/status.ts';
import { statusOfCall } from './status-of-call.ts';

type GrpcCall = ReturnType<ChannelInterface['createCall']>;

interface Receiver {
  readonly resolve: (message: Uint8Array | undefined) => void;
  readonly reject: (error: StatusError) => void;
}

/**
 * One call on the wire. A message is read only when it is asked for, and the next one sent only when the
 * last has been taken, so that nothing piles up on this side.
 */
export class WireCall {
  readonly #call: GrpcCall;
  readonly #path: string;
  readonly #signal: AbortSignal;
  readonly #onAbort = () => this.fail(this.#signal.reason);
  #receiver: Receiver | undefined;
  /** Wakes the side that sends once the call has ended. */
  #wake: (() => void) | undefined;
  #contentType: string | Buffer | undefined;
  #status: StatusObject | undefined;
  /** Why this side gave up; it is told instead of the status CANCELLED that follows from it. */
  #failure: StatusError | undefined;

  /** Starts `call`; `signal` has not aborted yet. */
  constructor(call: GrpcCall, path: string, metadata: Metadata, signal: AbortSignal) {
    this.#call = call;
    this.#path = path;
    this.#signal = signal;
    signal.addEventListener('abort', this.#onAbort);
    call.start(metadata, {
      onReceiveMetadata: (headers) => {
        [this.#contentType] = headers.get('content-type');
      },
      onReceiveMessage: (message: Buffer) => this.#take()?.resolve(message),
      onReceiveStatus: (status) => this.#end(status),
    });
  }

  /** The next message, or undefined after the last; fails with the status unless that is OK. */
  receive(): Promise<Uint8Array | undefined> {
    return new Promise((resolve, reject) => {
      this.#receiver = { resolve, reject };
      if (this.#status) this.#settle(this.#status);
      else this.#call.startRead();
    });
  }

  /**
   * Sends each message, then says that these were all. Returns early when the call ends, and then does
   * not wait for a source that hangs. A source that fails ends the call with its error.
   */
  async sendAll(messages: AsyncIterable<Uint8Array>): Promise<void> {
    const iterator = messages[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await this.#unlessEnded(iterator.next());
        if (!next) break;
        if (next.done) return this.#call.halfClose();
        await this.#send(next.value);
      }
    } catch (thrown) {
      this.fail(thrown);
    }
    iterator.return?.().catch(() => {});
  }

  sendOnly(message: Uint8Array): void {
    this.#call.sendMessageWithContext({}, bufferOf(message));
    this.#call.halfClose();
  }

  /** Gives the call up, because of `thrown`; nothing happens when it has ended. */
  fail(thrown: unknown): void {
    if (this.#status) return;
    this.#failure ??= StatusError.from(thrown);
    this.#call.cancelWithStatus(grpcStatus.CANCELLED, 'given up by the client');
  }

  #send(message: Uint8Array): Promise<unknown> {
    const { promise, resolve } = Promise.withResolvers<void>();
    if (!this.#status) {
      this.#call.sendMessageWithContext({ callback: () => resolve() }, bufferOf(message));
    }
    return this.#unlessEnded(promise);
  }

  /** What `promise` gives, or undefined once the call ends. */
  #unlessEnded<T>(promise: Promise<T>): Promise<T | undefined> {
    // Not Promise.race: it would keep every message for as long as the call lives.
    return new Promise((resolve, reject) => {
      this.#wake = () => resolve(undefined);
      if (this.#status) this.#wake();
      promise.then(resolve, reject);
    });
  }

  #end(status: StatusObject): void {
    this.#status = status;
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.#settle(status);
    this.#wake?.();
  }

  #settle(status: StatusObject): void {
    const receiver = this.#take();
    if (this.#failure) receiver?.reject(this.#failure);
    else if (status.code === grpcStatus.OK) receiver?.resolve(undefined);
    else receiver?.reject(statusOfCall(this.#path, status, this.#contentType));
  }

  #take(): Receiver | undefined {
    const receiver = this.#receiver;
    this.#receiver = undefined;
    return receiver;
  }
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
