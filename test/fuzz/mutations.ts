import type { Chance } from './chance.ts';
import type { FieldSchema, ProtoSchema } from './proto-schema.ts';
import { encodeFields, encodeVarint, LENGTH_DELIMITED, parseFields } from './wire-fields.ts';
import type { WireField } from './wire-fields.ts';

// oxfmt-ignore
const extremes: readonly bigint[] = [
  0n, 1n, -1n, 2n, 4n, 100n, 127n, 128n, 1000n, 32_768n, 100_001n,
  2n ** 31n - 1n, 2n ** 31n, -(2n ** 31n), 2n ** 32n - 1n, 2n ** 32n,
  2n ** 53n - 1n, 2n ** 53n, 2n ** 53n + 1n, -(2n ** 53n) - 1n,
  2n ** 63n - 1n, -(2n ** 63n), 2n ** 64n - 1n,
];

// oxfmt-ignore
const oddTexts: readonly Buffer[] = [
  '', '\0', 'a\0b', '.', '..', '../../etc/passwd', '/', '//', '/etc', 'a/b', '\\', ':', ' ',
  '__proto__', 'constructor', 'toString', 'hasOwnProperty', 'blobs', 'uploads', 'operations',
  '%2e%2e', '%00', '\u202e', '\r\n', '\u001b[31m', '<script>', '０１２', '🦆', 'é', '-1', '01',
  '{"a":1}', '99999999999999999999', 'status:', 'type.googleapis.com/x.Y', '*', 'a'.repeat(256),
  // A byte that is no UTF-8, half a surrogate pair, and more than most fields expect.
  Buffer.of(0xff), Buffer.of(0xed, 0xa0, 0x80), Buffer.alloc(20_000, 'x'),
].map((text) => Buffer.from(text));

const scalarsOnVarints = new Set('int32 int64 uint32 uint64 sint32 sint64 bool enum'.split(' '));

/** What is remembered of good messages: a few values of each name. */
const valuesMax = 20;
const valueBytesMax = 5000;

/** Makes messages that are wrong in one place or some, from ones that are right. */
export class Mutations {
  readonly #chance: Chance;
  readonly #schema: ProtoSchema;
  /** Values seen in good requests, by the name of their field: in another place they may do harm. */
  readonly #seen = new Map<string, Buffer[]>();

  constructor(chance: Chance, schema: ProtoSchema) {
    this.#chance = chance;
    this.#schema = schema;
  }

  /** Remembers the values of a good message, the latest of each name. */
  learn(bytes: Buffer, type: string): void {
    for (const { number, value } of parseFields(bytes) ?? []) {
      const field = this.#field(type, number);
      if (!field || !(value instanceof Buffer) || value.length > valueBytesMax) continue;
      const known = this.#seen.get(field.name) ?? [];
      if (!known.some((other) => other.equals(value))) known.push(Buffer.from(value));
      this.#seen.set(field.name, known.slice(-valuesMax));
      if (this.#schema.messages.has(field.type)) this.learn(value, field.type);
    }
  }

  /** The message with one to four fields changed, at any depth. */
  inFields(bytes: Buffer, type: string): Buffer {
    let result = bytes;
    const rounds = 1 + this.#chance.below(this.#chance.oneIn(3) ? 4 : 1);
    for (let round = 0; round < rounds; round++) result = this.#once(result, type);
    return result;
  }

  /** The message with some bytes changed, cut, doubled, or taken from another. */
  inBytes(bytes: Buffer, other: Buffer): Buffer {
    const chance = this.#chance;
    const result = Buffer.from(bytes);
    const at = chance.below(bytes.length + 1);
    switch (chance.below(7)) {
      case 0:
        if (at < result.length) result[at] = (result[at] ?? 0) ^ (1 << chance.below(8));
        return result;
      case 1:
        if (at < result.length) result[at] = chance.pick([0, 1, 127, 128, 255, chance.below(256)]);
        return result;
      case 2:
        return result.subarray(0, at);
      case 3:
        return result.subarray(at);
      case 4:
        return Buffer.concat([result.subarray(0, at), other.subarray(chance.below(other.length))]);
      case 5:
        return Buffer.concat([result.subarray(0, at), chance.bytes(8), result.subarray(at)]);
      default:
        return Buffer.concat([result.subarray(0, at), result]);
    }
  }

  /** A message that knows its schema and nothing else. */
  invented(type: string, depth = 0): Buffer {
    const fields: WireField[] = [];
    for (const field of this.#schema.messages.get(type) ?? []) {
      if (this.#chance.oneIn(3)) continue;
      for (let count = this.#chance.oneIn(4) ? 3 : 1; count > 0; count--) {
        fields.push(this.#inventedField(field, depth));
      }
    }
    return encodeFields(fields);
  }

  #field(type: string, number: number): FieldSchema | undefined {
    return this.#schema.messages.get(type)?.find((field) => field.number === number);
  }

  #once(bytes: Buffer, type: string): Buffer {
    const chance = this.#chance;
    const fields = parseFields(bytes);
    if (!fields) return this.inBytes(bytes, chance.bytes(10));
    const at = chance.below(fields.length + 1);
    const field = fields[at];
    const schema = field && this.#field(type, field.number);
    // Beyond the last field, and sometimes anyway: one that the message does not have yet.
    if (!field || !schema || chance.oneIn(8)) return encodeFields([...fields, this.#added(type)]);
    return encodeFields(fields.toSpliced(at, 1, ...this.#changed(field, schema)));
  }

  #added(type: string): WireField {
    const chance = this.#chance;
    const all = this.#schema.messages.get(type) ?? [];
    if (all.length > 0 && !chance.oneIn(4)) return this.#inventedField(chance.pick(all), 1);
    const number = chance.pick([15, 16, 2047, 19_000, 2 ** 29 - 1]);
    const group = { number, wireType: chance.pick([3, 4, 6, 7]), value: undefined };
    const unknown = { number, wireType: LENGTH_DELIMITED, value: chance.bytes(5) };
    return chance.oneIn(3) ? group : unknown;
  }

  #changed(field: WireField, schema: FieldSchema): readonly WireField[] {
    const chance = this.#chance;
    const isMessage = this.#schema.messages.has(schema.type);
    if (isMessage && field.value instanceof Buffer && !chance.oneIn(4)) {
      return [{ ...field, value: this.#once(field.value, schema.type) }];
    }
    switch (chance.below(10)) {
      case 0:
        return [];
      case 1:
        return Array.from({ length: chance.pick([2, 2, 3, 200]) }, () => field);
      case 2:
        return [{ ...field, wireType: 0, value: chance.pick(extremes) }];
      case 3:
        return [{ ...field, wireType: chance.below(8) }];
      case 4:
        return [field, this.#inventedField(schema, 1)];
      default:
        return [this.#otherValue(field, schema)];
    }
  }

  #otherValue(field: WireField, schema: FieldSchema): WireField {
    const chance = this.#chance;
    if (typeof field.value === 'bigint') {
      const near = field.value + BigInt(chance.below(5)) - 2n;
      return { ...field, value: chance.oneIn(3) ? near : chance.pick(extremes) };
    }
    if (!field.value) return field;
    if (this.#schema.messages.has(schema.type)) {
      return { ...field, value: chance.pick([Buffer.of(), this.#nested(field.number)]) };
    }
    const choices = [
      () => chance.pick(oddTexts),
      () => this.inBytes(field.value as Buffer, chance.bytes(10)),
      () => chance.pick(this.#seen.get(schema.name) ?? oddTexts),
      () => chance.pick([...this.#seen.values()].flat()),
      () => Buffer.from((field.value as Buffer).toString('latin1').toUpperCase()),
    ];
    return { ...field, value: chance.pick(choices)() };
  }

  /** The field inside itself, deeper than any stack of calls would like. */
  #nested(number: number): Buffer {
    const tag = encodeVarint((BigInt(number) << 3n) | 2n);
    const parts: Buffer[] = [];
    let length = 0;
    for (let depth = this.#chance.pick([10, 100, 5000]); depth > 0; depth--) {
      const head = Buffer.concat([tag, encodeVarint(BigInt(length))]);
      parts.push(head);
      length += head.length;
    }
    return Buffer.concat(parts.toReversed());
  }

  #inventedField({ name, number, type }: FieldSchema, depth: number): WireField {
    const chance = this.#chance;
    const seen = this.#seen.get(name) ?? [];
    if (scalarsOnVarints.has(type)) {
      const value = chance.oneIn(2) ? BigInt(chance.below(12)) : chance.pick(extremes);
      return { number, wireType: 0, value };
    }
    if (type === 'double' || type.endsWith('fixed64')) {
      return { number, wireType: 1, value: chance.bytes(8) };
    }
    if (type === 'float' || type.endsWith('fixed32')) {
      return { number, wireType: 5, value: chance.bytes(4) };
    }
    let value = chance.pick(oddTexts);
    if (seen.length > 0 && !chance.oneIn(4)) value = chance.pick(seen);
    else if (this.#schema.messages.has(type)) {
      value = depth > 6 ? Buffer.of() : this.invented(type, depth + 1);
    }
    return { number, wireType: LENGTH_DELIMITED, value };
  }
}
