import { BinaryReader } from '@bufbuild/protobuf/wire';
import { Code, StatusError } from '../base/status.ts';

/** How generated code reads one message type. */
export interface Decodable<T> {
  decode(reader: BinaryReader): T;
}

/** A leading U+FEFF is part of a name, and a byte that is not UTF-8 must not turn into U+FFFD. */
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Tags and lengths of one message. The longest list of digests that fits in a request has 2.3 million
 * (SIS-03), a directory of 200,000 files 2.2 million. As many in empty messages take some hundred MB for
 * a moment; without a bound, 32 MB of empty messages took more than 4 GB and ended the process.
 */
const HEADS_MAX = 2_500_000;

/**
 * The message that `bytes` encode. Fails with INVALID_ARGUMENT, naming `what`, when they are no
 * encoding of one to the last byte, or hold a text that is not UTF-8. Generated code alone takes more:
 * it stops at a stray group end and repairs text. So are more than HEADS_MAX tags and
 * lengths: two bytes of an empty message become an object of more than a hundred.
 */
export function decodeMessage<T>(type: Decodable<T>, bytes: Uint8Array, what: string): T {
  try {
    const reader = new BinaryReader(bytes, (text) => utf8.decode(text));
    // What has no more bytes than that has no more heads.
    if (bytes.length > HEADS_MAX) limitHeads(reader);
    const message = type.decode(reader);
    if (reader.pos === reader.len) return message;
    throw new RangeError(`the message ends at byte ${reader.pos} of ${reader.len}`);
  } catch (error) {
    throw StatusError.during(`${what} cannot be decoded`, asInvalid(error));
  }
}

/** Generated code reads every tag and every length by `uint32`. */
function limitHeads(reader: BinaryReader): void {
  const readHead = reader.uint32.bind(reader);
  let left = HEADS_MAX;
  reader.uint32 = () => {
    if (left === 0) throw new RangeError(`it has more than ${HEADS_MAX} tags and lengths`);
    left -= 1;
    return readHead();
  };
}

function asInvalid(thrown: unknown): StatusError {
  const reason = thrown instanceof Error ? thrown.message : String(thrown);
  return new StatusError(Code.INVALID_ARGUMENT, reason, { cause: thrown });
}
