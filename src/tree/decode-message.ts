import { BinaryReader } from '@bufbuild/protobuf/wire';
import { heapBytesMax } from '../base/memory.ts';
import { Code, StatusError } from '../base/status.ts';

/** How generated code reads one message type. */
export interface Decodable<T> {
  decode(reader: BinaryReader): T;
}

/** A message, and what it takes as long as it is held. */
export interface Decoded<T> {
  readonly message: T;
  /** At most; its encoding, which parts of it may refer to, included. */
  readonly memoryBytes: number;
}

/** A leading U+FEFF is part of a name, and a byte that is not UTF-8 must not turn into U+FFFD. */
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Measured with Node 26: most messages take 50 to 130 bytes, an empty OutputFile with its list 270. */
const BYTES_PER_MESSAGE = 300;
/** Its header and its place in a list; the text comes on top. */
const BYTES_PER_STRING = 40;
/** Measured: 55 to 230, where unknown fields are kept at all. */
const BYTES_PER_UNKNOWN_FIELD = 250;

/**
 * What one message may take. The longest list of digests that fits in a request (SIS-03) counts for 340
 * MiB, with MD5; a directory of 200,000 files for 220.
 */
const MEMORY_BYTES_MAX = Math.min(384 * 2 ** 20, heapBytesMax / 4);

/**
 * What a message may take for each of its bytes, beside what any may. By the figures above, lists of SHA-256
 * digests count for 7, of MD5 digests 11; directories of files 10, of files with times and modes 25, of
 * symlinks with the shortest names and properties 50; arguments and variables of commands 5 to 40. Empty
 * messages count for 150.
 */
const MEMORY_BYTES_PER_BYTE = 60;
const MEMORY_BYTES_FREE = 8 * 2 ** 20;

/**
 * The message that `bytes` encode. Fails with INVALID_ARGUMENT, naming `what`, when they are no
 * encoding of one to the last byte, or hold a text that is not UTF-8. Generated code alone takes more:
 * it stops at a stray group end and repairs text. So do messages that would take more than 384 MiB, or 60
 * times their encoding: two bytes of an empty message become an object of up to 300.
 */
export function decodeMessage<T>(type: Decodable<T>, bytes: Uint8Array, what: string): T {
  return decodeWeighed(type, bytes, what).message;
}

/** The same, with what the message takes. */
export function decodeWeighed<T>(type: Decodable<T>, bytes: Uint8Array, what: string): Decoded<T> {
  try {
    const reader = new WeighingReader(bytes);
    const message = type.decode(reader);
    if (reader.pos === reader.len) return { message, memoryBytes: reader.memoryBytes };
    throw new RangeError(`the message ends at byte ${reader.pos} of ${reader.len}`);
  } catch (error) {
    throw StatusError.during(`${what} cannot be decoded`, asInvalid(error));
  }
}

/** Adds up what is made of what it reads, and fails as soon as that is too much. */
class WeighingReader extends BinaryReader {
  readonly #memoryBytesMax: number;
  #memoryBytes: number;
  #depth = 0;

  constructor(bytes: Uint8Array) {
    super(bytes, (text) => utf8.decode(text));
    const { length } = bytes;
    this.#memoryBytes = length;
    this.#memoryBytesMax = Math.min(
      MEMORY_BYTES_MAX,
      MEMORY_BYTES_FREE + MEMORY_BYTES_PER_BYTE * length,
    );
  }

  get memoryBytes(): number {
    return this.#memoryBytes;
  }

  /** Generated code writes here how deep it is, before it makes the message and after. */
  get __tsProtoDecodeDepth(): number {
    return this.#depth;
  }

  set __tsProtoDecodeDepth(depth: number) {
    if (depth > this.#depth) this.#add(BYTES_PER_MESSAGE);
    this.#depth = depth;
  }

  override string(strict?: boolean): string {
    const text = super.string(strict);
    this.#add(BYTES_PER_STRING + text.length);
    return text;
  }

  override skip(...field: Parameters<BinaryReader['skip']>): Uint8Array {
    this.#add(BYTES_PER_UNKNOWN_FIELD);
    return super.skip(...field);
  }

  #add(bytes: number): void {
    this.#memoryBytes += bytes;
    if (this.#memoryBytes <= this.#memoryBytesMax) return;
    throw new RangeError(
      `its ${this.len} bytes would take more than ${Math.floor(this.#memoryBytesMax)} bytes of memory: ` +
        'it has too many fields and messages',
    );
  }
}

function asInvalid(thrown: unknown): StatusError {
  const reason = thrown instanceof Error ? thrown.message : String(thrown);
  return new StatusError(Code.INVALID_ARGUMENT, reason, { cause: thrown });
}
