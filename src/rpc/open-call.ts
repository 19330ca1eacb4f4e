import type { Metadata } from '@grpc/grpc-js';
import type { Clock } from '../base/clock.ts';
import type { NewId } from '../base/id.ts';
import type { Log, LogFields } from '../base/log.ts';
import { Code, StatusError } from '../base/status.ts';
import type { RequestMetadata } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Call, Method } from './method.ts';
import {
  parseRequestMetadata,
  requestMetadataFields,
  requestMetadataHeaders,
} from './request-metadata.ts';

/** What of a grpc-js call all four kinds of methods have. */
export interface GrpcCall {
  readonly metadata: Metadata;
  getDeadline(): Date | number;
  getPeer(): string;
  once(event: 'cancelled', listener: () => void): unknown;
}

export interface OpenCallOptions {
  readonly log: Log;
  readonly newId: NewId;
  readonly clock: Clock;
}

/** A call that has turned out to be a lasting one. */
export type OnLasting = (call: OpenCall) => void;

const nameOf = new Map<number, string>(Object.entries(Code).map(([name, code]) => [code, name]));

/** A call from its arrival to its one line in the log. */
export class OpenCall implements Call {
  readonly id: string;
  readonly #onLasting: OnLasting;
  readonly #path: string;
  readonly #metadata: Metadata;
  readonly #peerOf: () => string;
  readonly #options: OpenCallOptions;
  readonly #startedAt: number;
  readonly #aborting = new AbortController();
  #ended = false;
  #log: Log | undefined;
  #requestMetadata: { readonly parsed: RequestMetadata | undefined } | undefined;

  constructor(method: Method, grpcCall: GrpcCall, options: OpenCallOptions, onLasting: OnLasting) {
    this.id = options.newId();
    this.#onLasting = onLasting;
    this.#path = method.path;
    this.#metadata = grpcCall.metadata;
    this.#peerOf = () => grpcCall.getPeer();
    this.#options = options;
    this.#startedAt = options.clock.now();
    // grpc-js says 'cancelled' also after a call that has ended as it should.
    grpcCall.once('cancelled', () => {
      if (this.#ended) return;
      const late = Number(grpcCall.getDeadline()) <= options.clock.now();
      this.abort(
        late
          ? new StatusError(Code.DEADLINE_EXCEEDED, 'the deadline of the call has passed')
          : new StatusError(Code.CANCELLED, 'the client cancelled the call or went away'),
      );
    });
    if (method.lasting) this.last();
  }

  get signal(): AbortSignal {
    return this.#aborting.signal;
  }

  get log(): Log {
    this.#log ??= this.#options.log.with({
      request: this.id,
      method: this.#path,
      ...requestMetadataFields(this.requestMetadata),
    });
    return this.#log;
  }

  last(): void {
    this.#onLasting(this);
  }

  label(fields: LogFields): void {
    this.#log = this.log.with(fields);
  }

  get requestMetadata(): RequestMetadata | undefined {
    this.#requestMetadata ??= { parsed: this.#parseRequestMetadata() };
    return this.#requestMetadata.parsed;
  }

  header(name: string): string | undefined {
    const [value] = this.#metadata.get(name);
    return typeof value === 'string' ? value : undefined;
  }

  abort(reason: StatusError): void {
    if (!this.#ended) this.#aborting.abort(reason);
  }

  /** Ends the call without error. */
  succeed(): void {
    this.#ended = true;
    this.log.debug('call ended', this.#outcome(Code.OK));
  }

  /** Ends the call with what was thrown; why it was aborted counts for more than what that caused. */
  fail(thrown: unknown): StatusError {
    this.#ended = true;
    const status = StatusError.from(this.signal.aborted ? this.signal.reason : thrown);
    const fields = { ...this.#outcome(status.code), error: status.message };
    if (status.code === Code.INTERNAL || status.code === Code.DATA_LOSS) {
      const { stack } = status.cause instanceof Error ? status.cause : status;
      this.log.error('call failed', { ...fields, stack });
    } else if (status.code === Code.NOT_FOUND || status.code === Code.CANCELLED) {
      // A cache miss and a client that stops are what a server sees all day.
      this.log.debug('call failed', fields);
    } else if (status.code === Code.PERMISSION_DENIED) {
      // Whoever reads this wants to know who it was (RAC-07).
      this.log.info('call failed', { ...fields, peer: this.#peerOf() });
    } else {
      this.log.info('call failed', fields);
    }
    return status;
  }

  #outcome(code: number): LogFields {
    return {
      code: nameOf.get(code) ?? String(code),
      durationMs: this.#options.clock.now() - this.#startedAt,
    };
  }

  #parseRequestMetadata(): RequestMetadata | undefined {
    for (const name of requestMetadataHeaders) {
      const [value] = this.#metadata.get(name);
      if (value instanceof Uint8Array) return parseRequestMetadata(value);
    }
    return undefined;
  }
}
