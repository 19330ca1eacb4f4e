import * as v from 'valibot';
import type { KeyPath } from './key-lines.ts';

type AnySchema = v.GenericSchema<unknown, unknown>;

/** One key of a configuration, as its schema has it. */
export interface SchemaKey {
  readonly path: KeyPath;
  /** As people write it: cas_storage.max_size. */
  readonly name: string;
  readonly kind: 'text' | 'number' | 'flag' | 'list' | 'table';
  readonly description: string;
}

const kinds = new Map<string, SchemaKey['kind']>([
  ['string', 'text'],
  ['number', 'number'],
  ['boolean', 'flag'],
  ['array', 'list'],
  ['record', 'table'],
]);

/** Every key of a schema, in its order. */
export function keysOf(schema: AnySchema, above: KeyPath = []): SchemaKey[] {
  return Object.entries(entriesOf(schema) ?? {}).flatMap(([name, wrapped]) => {
    const path = [...above, name];
    const inner = unwrapped(wrapped);
    if (entriesOf(inner)) return keysOf(inner, path);
    const kind = kinds.get(inner.type);
    const description = v.getDescription(inner);
    if (!kind || description === undefined) throw new TypeError(`${name} is no described key`);
    return { path, name: path.join('.'), kind, description };
  });
}

/** The keys of `values` that the schema does not know; they are taken out of `values`. */
export function removeUnknownKeys(schema: AnySchema, values: object, above: KeyPath = []) {
  const unknown: KeyPath[] = [];
  const entries = new Map(Object.entries(entriesOf(schema) ?? {}));
  for (const [name, value] of Object.entries(values)) {
    const path = [...above, name];
    const known = entries.get(name);
    if (!known) {
      unknown.push(path);
      Reflect.deleteProperty(values, name);
    } else if (entriesOf(unwrapped(known)) && isTable(value)) {
      unknown.push(...removeUnknownKeys(unwrapped(known), value, path));
    }
  }
  return unknown;
}

export function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function unwrapped(schema: AnySchema): AnySchema {
  return 'wrapped' in schema ? unwrapped(schema.wrapped as AnySchema) : schema;
}

function entriesOf(schema: AnySchema): Readonly<Record<string, AnySchema>> | undefined {
  return 'entries' in schema ? (schema.entries as Record<string, AnySchema>) : undefined;
}
