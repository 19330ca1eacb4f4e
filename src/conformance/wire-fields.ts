import { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire';

const LENGTH_DELIMITED = 2;

/**
 * Whether a message sets the submessage that a path of field numbers leads to, the first of each:
 * decoded messages do not always tell "not set" from "empty".
 */
export function hasField(message: Uint8Array | undefined, path: readonly number[]): boolean {
  let inside = message;
  for (const number of path) {
    inside = inside && firstField(inside, number);
    if (!inside) return false;
  }
  return true;
}

/** A message with a field that no version of the API has (GEN-17, GEN-18). */
export function withUnknownField(message: Uint8Array): Buffer {
  const field = new BinaryWriter().tag(1999, LENGTH_DELIMITED).string('from a later version');
  return Buffer.concat([message, field.finish()]);
}

function firstField(message: Uint8Array, wanted: number): Uint8Array | undefined {
  const reader = new BinaryReader(message);
  try {
    while (reader.pos < reader.len) {
      const [number, wireType] = reader.tag();
      if (number === wanted && (wireType as number) === LENGTH_DELIMITED) return reader.bytes();
      reader.skip(wireType);
    }
  } catch {
    return undefined; // Not a message: then it has no such field.
  }
  return undefined;
}
