import type { Chunks } from '../../base/chunks.ts';
import { Code, StatusError } from '../../base/status.ts';
import type { WriteRequest } from '../../proto/google/bytestream/bytestream.ts';

/** The requests of one Write, from the first to the one that finishes it. */
export class WriteRequests {
  /** What the first request names. */
  readonly resourceName: string;
  /** Where the first request starts, in the uncompressed blob. */
  readonly firstOffset: number;
  /** Until its data is asked for. */
  #first: WriteRequest | undefined;
  readonly #rest: AsyncIterator<WriteRequest>;
  #receivedBytes = 0;
  #finished = false;

  private constructor(first: WriteRequest, rest: AsyncIterator<WriteRequest>) {
    this.resourceName = first.resourceName;
    this.firstOffset = first.writeOffset;
    this.#first = first;
    this.#rest = rest;
  }

  /** Waits for the first request; fails with INVALID_ARGUMENT when there is none. */
  static async open(requests: AsyncIterable<WriteRequest>): Promise<WriteRequests> {
    const rest = requests[Symbol.asyncIterator]();
    const first = await rest.next();
    if (first.done) throw invalid('the upload ended before its first request');
    return new WriteRequests(first.value, rest);
  }

  /** Bytes of `data` taken so far: compressed ones, if the name says so. */
  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  /** Whether the last request has come, and nothing after it. */
  get finished(): boolean {
    return this.#finished;
  }

  /**
   * The data of all requests; call once. Ends when the client stops sending, finished or not: see
   * `finished`. Fails with INVALID_ARGUMENT when a request names another resource (BS-30), leaves a
   * gap or an overlap (BS-31, BS-32), or follows the last one (BS-33); and as `hear` does, which waits for
   * each request.
   */
  async *data(hear = <T>(next: Promise<T>) => next): Chunks {
    let request = this.#first;
    this.#first = undefined;
    while (request) {
      this.#check(request);
      const { finishWrite }: WriteRequest = request;
      this.#receivedBytes += request.data.length;
      if (request.data.length > 0) yield request.data;
      // A client may take long to send the next one, and this one may be large.
      request = undefined;
      const next = await hear(this.#rest.next());
      if (finishWrite) {
        if (!next.done) throw invalid('a request follows the one with finish_write');
        this.#finished = true;
      }
      if (!next.done) request = next.value;
    }
  }

  #check({ resourceName, writeOffset }: WriteRequest): void {
    if (resourceName !== '' && resourceName !== this.resourceName) {
      throw invalid('a request names another resource than the first one');
    }
    const expected = this.firstOffset + this.#receivedBytes;
    if (writeOffset !== expected) {
      throw invalid(`a request has write_offset ${writeOffset} where ${expected} follows`);
    }
  }
}

function invalid(message: string): StatusError {
  return new StatusError(Code.INVALID_ARGUMENT, message);
}
