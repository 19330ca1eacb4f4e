/** One field of a message on the wire. `wireType` need not be what the field's type asks for. */
export interface WireField {
  readonly number: number;
  readonly wireType: number;
  /** A varint; the bytes of what has a length or a fixed size; undefined for the ends of a group. */
  readonly value: bigint | Buffer | undefined;
}

const VARINT = 0;
const FIXED64 = 1;
export const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

/** The fields of well-formed bytes, in their order; undefined for others. */
export function parseFields(bytes: Buffer): WireField[] | undefined {
  const fields: WireField[] = [];
  const at = { offset: 0 };
  const take = (length: number) => {
    const value = bytes.subarray(at.offset, at.offset + length);
    at.offset += length;
    return value;
  };
  try {
    while (at.offset < bytes.length) {
      const tag = Number(readVarint(bytes, at));
      const [number, wireType] = [Math.floor(tag / 8), tag % 8];
      if (number === 0) return undefined;
      if (wireType === VARINT) fields.push({ number, wireType, value: readVarint(bytes, at) });
      else if (wireType === FIXED64) fields.push({ number, wireType, value: take(8) });
      else if (wireType === FIXED32) fields.push({ number, wireType, value: take(4) });
      else if (wireType === LENGTH_DELIMITED) {
        const length = Number(readVarint(bytes, at));
        fields.push({ number, wireType, value: take(length) });
      } else fields.push({ number, wireType, value: undefined });
      if (at.offset > bytes.length) return undefined;
    }
  } catch (thrown) {
    if (thrown instanceof RangeError) return undefined;
    throw thrown;
  }
  return fields;
}

export function encodeFields(fields: readonly WireField[]): Buffer {
  const parts: Buffer[] = [];
  for (const { number, wireType, value } of fields) {
    parts.push(encodeVarint((BigInt(number) << 3n) | BigInt(wireType)));
    if (typeof value === 'bigint') parts.push(encodeVarint(value));
    else if (value) {
      if (wireType === LENGTH_DELIMITED) parts.push(encodeVarint(BigInt(value.length)));
      parts.push(value);
    }
  }
  return Buffer.concat(parts);
}

/** Of 64 bits, as protobuf writes negative numbers too. */
export function encodeVarint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

function readVarint(bytes: Buffer, at: { offset: number }): bigint {
  let value = 0n;
  for (let shift = 0n; ; shift += 7n) {
    const byte = bytes.readUInt8(at.offset++);
    value |= BigInt(byte & 127) << shift;
    if (byte < 128) return value;
    if (shift > 63n) throw new RangeError('a varint of more than ten bytes');
  }
}
