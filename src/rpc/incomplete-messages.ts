import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { fieldOf, type Log } from '../base/log.ts';

/** The flag and the length in front of each message. */
const HEAD_BYTES = 5;

/** What the objects of one chunk take: a client may send a byte at a time. */
const CHUNK_BYTES = 256;

/** A chunk keeps alive what was read from the connection with it, of which the largest frame is a quarter. */
const CHUNKS_OF_READ = 4;

/** A call in the middle of a message. */
interface Receiving {
  readonly stream: ServerHttp2Stream;
  readonly headers: IncomingHttpHeaders;
  heldBytes: number;
}

/**
 * Bounds what all calls of a server together hold of messages that are not complete: grpc-js (1.14) gathers
 * those before anything of ours sees them. When it is too much, the call of which nothing has come for longest
 * is reset with ENHANCE_YOUR_CALM, which clients take for RESOURCE_EXHAUSTED. So clients that go on, however
 * slowly, outlive those that stop within a message.
 */
export class IncompleteMessages {
  readonly #bytesMax: number;
  readonly #log: Log;
  /** In the order in which they were heard. */
  readonly #receiving = new Set<Receiving>();
  #heldBytes = 0;

  constructor(bytesMax: number, log: Log) {
    this.#bytesMax = bytesMax;
    this.#log = log;
  }

  /** Counts what comes on a stream, once somebody else lets it flow. */
  watch(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    const receiving = { stream, headers, heldBytes: 0 };
    const framing = new Framing();
    stream.on('data', (chunk: Buffer) => {
      const startsAt = framing.take(chunk);
      if (startsAt > 0) this.#forget(receiving);
      if (startsAt === chunk.length) return;
      const keptBytes = Math.max(chunk.length - startsAt, chunk.buffer.byteLength / CHUNKS_OF_READ);
      this.#add(receiving, keptBytes + CHUNK_BYTES);
    });
    stream.once('close', () => this.#forget(receiving));
  }

  #add(receiving: Receiving, bytes: number): void {
    this.#receiving.delete(receiving);
    this.#receiving.add(receiving);
    receiving.heldBytes += bytes;
    this.#heldBytes += bytes;
    for (const silent of this.#receiving) {
      if (this.#heldBytes <= this.#bytesMax) break;
      this.#forget(silent);
      this.#end(silent);
    }
  }

  #forget(receiving: Receiving): void {
    this.#receiving.delete(receiving);
    this.#heldBytes -= receiving.heldBytes;
    receiving.heldBytes = 0;
  }

  #end({ stream, headers }: Receiving): void {
    this.#log.info('call failed', {
      method: fieldOf(headers[':path']),
      code: 'RESOURCE_EXHAUSTED',
      error:
        `messages that are not complete hold more than ${this.#bytesMax} bytes, the limit here, and of this ` +
        'one nothing has come for longest',
    });
    stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
  }
}

/** Where the messages of one stream begin and end. */
class Framing {
  #headBytes = 0;
  #restBytes = 0;

  /** The place in `chunk` after the last message that is complete with it: 0 if none is. */
  take(chunk: Buffer): number {
    let startsAt = 0;
    let at = 0;
    while (at < chunk.length) {
      if (this.#headBytes < HEAD_BYTES) {
        const byte = chunk.readUInt8(at++);
        this.#restBytes = this.#headBytes === 0 ? 0 : this.#restBytes * 256 + byte;
        this.#headBytes += 1;
      } else {
        const taken = Math.min(this.#restBytes, chunk.length - at);
        this.#restBytes -= taken;
        at += taken;
      }
      if (this.#headBytes === HEAD_BYTES && this.#restBytes === 0) {
        this.#headBytes = 0;
        startsAt = at;
      }
    }
    return startsAt;
  }
}
