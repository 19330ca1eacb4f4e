import { parse, TomlError } from 'smol-toml';
import * as v from 'valibot';
import { KeyLines, type KeyPath } from './key-lines.ts';
import { nearest } from './nearest.ts';
import { isTable, keysOf, removeUnknownKeys, type SchemaKey } from './schema-keys.ts';

/** A key's value from the command line. */
export interface FlagValue {
  /** As people write it: cas_storage.max_size. */
  readonly key: string;
  /** In the notation of an environment variable. */
  readonly value: string;
  /** The flag it came from, for messages. */
  readonly flag: string;
}

/** Where values come from. Flags beat the environment, which beats the file, which beats defaults. */
export interface Sources {
  readonly file: { readonly path: string; readonly text: string } | undefined;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly flags: readonly FlagValue[];
}

/** Everything that is wrong with a configuration, a line each. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

/** The variable that sets a key: EXPBUILD_CAS_STORAGE_MAX_SIZE for cas_storage.max_size. */
export function variableOf(key: Pick<SchemaKey, 'path'>): string {
  return `EXPBUILD_${key.path.join('_').toUpperCase()}`;
}

/** The values of all keys, defaults included. Fails with a ConfigError that names every problem. */
export function readConfig<S extends v.GenericSchema<unknown, unknown>>(
  schema: S,
  sources: Sources,
): v.InferOutput<S> {
  const reader = new ConfigReader(keysOf(schema), sources);
  const values = reader.merged();
  for (const path of removeUnknownKeys(schema, values)) reader.reportUnknown(path);
  const result = v.safeParse(schema, values);
  for (const issue of result.issues ?? []) reader.reportIssue(issue);
  if (reader.problems.length > 0 || !result.success) throw new ConfigError(reader.problems);
  return result.output;
}

class ConfigReader {
  readonly problems: string[] = [];
  readonly #keys: readonly SchemaKey[];
  readonly #sources: Sources;
  readonly #lines: KeyLines;
  /** Keys that a flag or a variable has set, and its name. */
  readonly #setBy = new Map<string, string>();

  constructor(keys: readonly SchemaKey[], sources: Sources) {
    this.#keys = keys;
    this.#sources = sources;
    this.#lines = new KeyLines(sources.file?.text ?? '');
  }

  merged(): Record<string, unknown> {
    const values = this.#parseFile();
    for (const key of this.#keys) {
      const text = this.#sources.environment[variableOf(key)];
      if (text !== undefined) this.#put(values, key, [], text, `variable ${variableOf(key)}`);
    }
    for (const { key: name, value, flag } of this.#sources.flags) {
      const key = this.#keys.find((known) => name === known.name || isInTable(known, name));
      const origin = `flag ${flag}`;
      if (!key) this.problems.push(`${origin}: ${this.#unknown(name)}`);
      else {
        const inside = name.slice(key.name.length + 1);
        this.#put(values, key, inside === '' ? [] : [inside], value, origin);
      }
    }
    return values;
  }

  reportUnknown(path: KeyPath): void {
    this.problems.push(`${this.#placeOf(path)}: ${this.#unknown(path.join('.'))}`);
  }

  reportIssue(issue: v.BaseIssue<unknown>): void {
    const path = (issue.path ?? []).map(({ key }) => String(key));
    const found = JSON.stringify(issue.input) ?? 'missing';
    this.problems.push(
      `${this.#placeOf(path)}: key "${path.join('.')}" ${issue.message}; it is ${found}`,
    );
  }

  #parseFile(): Record<string, unknown> {
    const { file } = this.#sources;
    if (!file) return {};
    try {
      return parse(file.text);
    } catch (thrown) {
      if (!(thrown instanceof TomlError)) throw thrown;
      const what = thrown.message.split('\n')[0] ?? '';
      throw new ConfigError([`${file.path}:${thrown.line}: ${what}`]);
    }
  }

  #put(values: Record<string, unknown>, key: SchemaKey, inside: KeyPath, text: string, by: string) {
    const path = [...key.path, ...inside];
    const last = path.at(-1) ?? '';
    let table = values;
    for (const name of path.slice(0, -1)) {
      if (!isTable(table[name])) table[name] = {};
      table = table[name] as Record<string, unknown>;
    }
    table[last] = inside.length > 0 ? text : valueOf(key.kind, text);
    this.#setBy.set(JSON.stringify(path), by);
  }

  #unknown(name: string): string {
    const names = this.#keys.map((key) => key.name);
    const sameEnd = names.filter((known) => known.split('.').at(-1) === name.split('.').at(-1));
    const meant = sameEnd.length === 1 ? sameEnd[0] : nearest(name, names);
    const hint = meant === undefined ? '' : `; did you mean "${meant}"?`;
    return `key "${name}" is not known${hint}`;
  }

  #placeOf(path: KeyPath): string {
    for (let length = path.length; length > 0; length--) {
      const by = this.#setBy.get(JSON.stringify(path.slice(0, length)));
      if (by !== undefined) return by;
    }
    const line = this.#lines.lineOf(path);
    const { file } = this.#sources;
    return file ? [file.path, line].filter((part) => part !== undefined).join(':') : 'default';
  }
}

const isInTable = (key: SchemaKey, name: string) =>
  key.kind === 'table' && name.startsWith(`${key.name}.`);

/** A value as a variable or a flag has it: lists `a,b`, tables `name=value,name=value`. */
function valueOf(kind: SchemaKey['kind'], text: string): unknown {
  if (kind === 'number') return /^-?\d+$/.test(text) ? Number(text) : text;
  if (kind === 'flag' && (text === 'true' || text === 'false')) return text === 'true';
  if (kind === 'list') return text === '' ? [] : text.split(',');
  return kind === 'table' ? tableOf(text) : text;
}

function tableOf(text: string): unknown {
  const values = new Map<string, string[]>();
  for (const part of text === '' ? [] : text.split(',')) {
    const [, name, value] = /^([^=]+)=(.*)$/s.exec(part) ?? [];
    if (name === undefined || value === undefined) return text;
    values.set(name, [...(values.get(name) ?? []), value]);
  }
  return Object.fromEntries(values);
}
