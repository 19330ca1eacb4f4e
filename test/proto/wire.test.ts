import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fromBinary, isFieldSet } from '@bufbuild/protobuf';
import {
  type DescriptorProto,
  type EnumDescriptorProto,
  type FieldDescriptorProto,
  FieldDescriptorProtoSchema,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  type FileDescriptorProto,
  FileDescriptorSetSchema,
  type ServiceDescriptorProto,
} from '@bufbuild/protobuf/wkt';

/**
 * The columns of wire.tsv that say what goes over the wire. The last one, `http`, names an annotation
 * for JSON over HTTP, which we do not carry (GEN-20).
 */
const columns = [
  'kind',
  'parent',
  'name',
  'number',
  'type',
  'label',
  'deprecated',
  'request_type',
  'response_type',
  'streaming',
] as const;
type Row = Partial<Record<(typeof columns)[number], string | number>>;

const rowText = (row: Row) => columns.map((column) => row[column] ?? '').join('\t');

function rowsOfTable(): string[] {
  const [header = '', ...lines] = readFileSync(path.join(import.meta.dirname, 'wire.tsv'), 'utf8')
    .split('\n')
    .filter((line) => line !== '');
  assert.deepEqual(header.split('\t'), [...columns, 'http']);
  return lines.map((line) => line.split('\t').slice(0, columns.length).join('\t'));
}

/**
 * What the table does not tell of: Google's own types, the services of gRPC itself, which tests of their
 * own try with other tools, our worker protocol, and Buildbarn's message.
 */
const untold = /^(google\/protobuf|grpc|expbuild|buildbarn)\//;

function filesOfProto(): FileDescriptorProto[] {
  const buf = path.resolve('node_modules/.bin/buf');
  const bytes = execFileSync(buf, ['build', '-o', '-#format=binpb'], { maxBuffer: 64 * 2 ** 20 });
  return fromBinary(FileDescriptorSetSchema, bytes).file.filter(({ name }) => !untold.test(name));
}

function* rowsOfFile(file: FileDescriptorProto): Iterable<Row> {
  for (const message of file.messageType) yield* rowsOfMessage(file.package, message);
  for (const one of file.enumType) yield* rowsOfEnum(file.package, one);
  for (const service of file.service) yield* rowsOfService(file.package, service);
  for (const field of file.extension) {
    yield {
      ...fieldRow(field.extendee.slice(1), field, new Map()),
      name: `(${file.package}.${field.name})`,
      label: 'extension',
    };
  }
}

function* rowsOfMessage(parent: string, message: DescriptorProto): Iterable<Row> {
  const name = `${parent}.${message.name}`;
  const mapEntries = new Map<string, DescriptorProto>();
  yield { kind: 'message', parent, name: message.name };
  for (const nested of message.nestedType) {
    if (nested.options?.mapEntry === true) mapEntries.set(`.${name}.${nested.name}`, nested);
    else yield* rowsOfMessage(name, nested);
  }
  for (const one of message.enumType) yield* rowsOfEnum(name, one);
  for (const field of message.field) {
    const row = fieldRow(name, field, mapEntries);
    const oneof = oneofOf(message, field);
    yield oneof === undefined ? row : { ...row, label: `oneof:${oneof}` };
  }
}

/** The oneof a field belongs to; what the compiler makes up for `optional` is none. */
function oneofOf(message: DescriptorProto, field: FieldDescriptorProto): string | undefined {
  if (field.proto3Optional) return undefined;
  if (!isFieldSet(field, FieldDescriptorProtoSchema.field.oneofIndex)) return undefined;
  return message.oneofDecl[field.oneofIndex]?.name;
}

function fieldRow(
  parent: string,
  field: FieldDescriptorProto,
  mapEntries: ReadonlyMap<string, DescriptorProto>,
): Row {
  const row: Row = { kind: 'field', parent, name: field.name, number: field.number };
  if (field.options?.deprecated === true) row.deprecated = 'yes';
  const entry = mapEntries.get(field.typeName);
  if (entry) {
    const [key, value] = entry.field;
    assert.ok(key && value);
    return { ...row, type: `map<${typeOf(key)},${typeOf(value)}>` };
  }
  row.type = typeOf(field);
  if (field.label === FieldDescriptorProto_Label.REPEATED) row.label = 'repeated';
  if (field.proto3Optional) row.label = 'optional';
  return row;
}

/** As a .proto file writes it: `int64`, or the full name of a message or enum. */
function typeOf(field: FieldDescriptorProto): string {
  if (field.typeName !== '') return field.typeName.slice(1);
  return FieldDescriptorProto_Type[field.type].toLowerCase();
}

function* rowsOfEnum(parent: string, { name, value: values }: EnumDescriptorProto): Iterable<Row> {
  yield { kind: 'enum', parent, name };
  for (const value of values) {
    yield {
      kind: 'enum_value',
      parent: `${parent}.${name}`,
      name: value.name,
      number: value.number,
    };
  }
}

function* rowsOfService(parent: string, service: ServiceDescriptorProto): Iterable<Row> {
  for (const method of service.method) {
    const streaming = [method.clientStreaming && 'client', method.serverStreaming && 'server'];
    yield {
      kind: 'rpc',
      parent: `${parent}.${service.name}`,
      name: method.name,
      request_type: method.inputType.slice(1),
      response_type: method.outputType.slice(1),
      streaming: streaming.filter((side) => side !== false).join('+') || 'none',
    };
  }
}

test('RES-33: proto/ and the table of the API agree on every name, number and type', () => {
  const ours = filesOfProto().flatMap((file) => Array.from(rowsOfFile(file), rowText));
  const theirs = rowsOfTable();
  const ourSet = new Set(ours);
  const theirSet = new Set(theirs);

  assert.deepEqual(
    theirs.filter((row) => !ourSet.has(row)),
    [],
    'rows of wire.tsv that proto/ lacks or says otherwise',
  );
  assert.deepEqual(
    ours.filter((row) => !theirSet.has(row)),
    [],
    'descriptors of proto/ that wire.tsv lacks or says otherwise',
  );
  assert.equal(ours.length, theirs.length, 'a name is declared twice');
  assert.ok(theirs.length > 400, 'the table is not whole');
});
