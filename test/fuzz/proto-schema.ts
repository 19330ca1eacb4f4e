import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';

export interface FieldSchema {
  readonly name: string;
  readonly number: number;
  /** A scalar's name, `enum`, or a message's full name. */
  readonly type: string;
}

/** What the files in proto/ say, as far as a fuzzer has to know it. */
export interface ProtoSchema {
  readonly messages: ReadonlyMap<string, readonly FieldSchema[]>;
  /** The full name of what a method takes, by its path. */
  readonly requestTypes: ReadonlyMap<string, string>;
  /** The same of what it answers. */
  readonly responseTypes: ReadonlyMap<string, string>;
}

/** What the files import and do not hold. */
const wellKnown = `
package google.protobuf;
message Any { string type_url = 1; bytes value = 2; }
message Duration { int64 seconds = 1; int32 nanos = 2; }
message Timestamp { int64 seconds = 1; int32 nanos = 2; }
message BoolValue { bool value = 1; }
message Int32Value { int32 value = 1; }
message Int64Value { int64 value = 1; }
message UInt32Value { uint32 value = 1; }
message Empty { }
`;

const scalars = new Set(
  'double float int32 int64 uint32 uint64 sint32 sint64 fixed32 fixed64 sfixed32 sfixed64 bool string bytes'.split(
    ' ',
  ),
);

export function readProtoSchema(folder = path.join(import.meta.dirname, '../../proto')) {
  const parser = new Parser();
  parser.parse(wellKnown);
  for (const file of globSync(`${folder}/**/*.proto`).toSorted()) {
    parser.parse(readFileSync(file, 'utf8'));
  }
  return parser.finish();
}

/** A name as a file has it, and where it stands. */
interface Reference {
  readonly scope: string;
  readonly type: string;
}

class Parser {
  readonly #messages = new Map<string, (Reference & { name: string; number: number })[]>();
  readonly #enums = new Set<string>();
  readonly #requests = new Map<string, Reference>();
  readonly #responses = new Map<string, Reference>();
  #tokens: string[] = [];

  parse(text: string): void {
    const code = text.replaceAll(/\/\/.*$|\/\*[^]*?\*\//gm, '');
    this.#tokens = (code.match(/"[^"]*"|'[^']*'|[\w.]+|[^\s\w]/g) ?? []).toReversed();
    let scope = '';
    while (this.#tokens.length > 0) {
      const word = this.#next();
      if (word === 'package') scope = this.#next();
      if (word === 'message') this.#message(scope);
      else if (word === 'enum') this.#enum(scope);
      else if (word === 'service') this.#service(scope);
      else if (word !== ';') this.#skip();
    }
  }

  finish(): ProtoSchema {
    const resolve = ({ scope, type }: Reference): string => {
      if (scalars.has(type)) return type;
      const scopes = scope.split('.');
      const names = [type.replace(/^\./, '')];
      for (; scopes.length > 0; scopes.pop()) names.push(`${scopes.join('.')}.${type}`);
      const found = names.find((name) => this.#messages.has(name) || this.#enums.has(name));
      if (found === undefined) throw new Error(`proto/ has no ${type}, which ${scope} names`);
      return this.#enums.has(found) ? 'enum' : found;
    };
    const messages = [...this.#messages].map(([message, fields]) => {
      const resolved = fields.map((field) => ({
        name: field.name,
        number: field.number,
        type: resolve(field),
      }));
      return [message, resolved] as const;
    });
    const resolveEach = (types: ReadonlyMap<string, Reference>) =>
      new Map([...types].map(([name, type]) => [name, resolve(type)]));
    return {
      messages: new Map(messages),
      requestTypes: resolveEach(this.#requests),
      responseTypes: resolveEach(this.#responses),
    };
  }

  #next(): string {
    const token = this.#tokens.pop();
    if (token === undefined) throw new Error('the file ends too early');
    return token;
  }

  /** Past the next semicolon, or past the braces that come before it. */
  #skip(): void {
    for (let depth = 0; ;) {
      const token = this.#next();
      if (token === '{') depth++;
      if (token === '}') depth--;
      if (depth === 0 && (token === ';' || token === '}')) return;
    }
  }

  #enum(scope: string): void {
    this.#enums.add(`${scope}.${this.#next()}`);
    this.#skip();
  }

  #service(scope: string): void {
    const service = `${scope}.${this.#next()}`;
    this.#next();
    for (let word = this.#next(); word !== '}'; word = this.#next()) {
      if (word === 'rpc') {
        const method = `/${service}/${this.#next()}`;
        this.#requests.set(method, { scope, type: this.#typeInBrackets() });
        this.#next();
        this.#responses.set(method, { scope, type: this.#typeInBrackets() });
        if (this.#tokens.at(-1) === '{') this.#skip();
      } else if (word !== ';') this.#skip();
    }
  }

  #typeInBrackets(): string {
    this.#next();
    let type = this.#next();
    if (type === 'stream') type = this.#next();
    this.#next();
    return type;
  }

  #message(outer: string): void {
    const scope = `${outer}.${this.#next()}`;
    const fields: (Reference & { name: string; number: number })[] = [];
    this.#messages.set(scope, fields);
    this.#next();
    // A oneof's braces stand around fields like the others.
    for (let open = 1; open > 0;) {
      const word = this.#next();
      if (word === '}') open--;
      else if (word === 'message') this.#message(scope);
      else if (word === 'enum') this.#enum(scope);
      else if (word === 'oneof') {
        open++;
        this.#next();
        this.#next();
      } else if (word === 'option' || word === 'reserved') this.#skip();
      else if (word === 'map') fields.push(this.#map(scope));
      else if (word !== 'repeated' && word !== 'optional' && word !== ';') {
        fields.push(this.#field(scope, word));
      }
    }
  }

  #field(scope: string, type: string) {
    const name = this.#next();
    this.#next();
    const number = Number(this.#next());
    this.#skip();
    return { scope, type, name, number };
  }

  /** On the wire a map is a repeated message of a key and a value. */
  #map(scope: string) {
    const [, key = '', , value = ''] = Array.from({ length: 5 }, () => this.#next());
    const field = this.#field(scope, '');
    const entry = `${field.name}.entry`;
    this.#messages.set(`${scope}.${entry}`, [
      { scope, type: key, name: 'key', number: 1 },
      { scope, type: value, name: 'value', number: 2 },
    ]);
    return { ...field, type: entry };
  }
}
