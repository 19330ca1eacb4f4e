import { createHmac } from 'node:crypto';
import { validateHeaderName, validateHeaderValue } from 'node:http';
import { quoted } from '../base/quoted.ts';
import { Code, StatusError } from '../base/status.ts';

/** They belong to the connection, or would change which bytes come. */
const refused: ReadonlySet<string> = new Set([
  'accept-encoding',
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'proxy-authorization',
  'proxy-connection',
  'range',
  'if-range',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** They tell nothing that another host must not know. */
const harmless: ReadonlySet<string> = new Set(['accept', 'accept-language', 'user-agent']);

/** By lower-case name. */
export type Headers = ReadonlyMap<string, string>;

interface Header {
  readonly name: string;
  readonly value: string;
}

/**
 * The headers that a client sends along to the origins of one request (AST-20). Most are secrets: they
 * are never logged or stored.
 */
export class OriginHeaders {
  readonly #forAll: Header[] = [];
  readonly #byUri = new Map<string, Header[]>();
  readonly #byIndex = new Map<number, Header[]>();

  /** Takes the qualifier if it is one of headers. Fails with INVALID_ARGUMENT when it is malformed. */
  add(name: string, value: string): boolean {
    if (name === 'bazel.auth_headers') this.#addAuthHeaders(value);
    else if (name.startsWith('http_header:')) {
      this.#forAll.push(header(name.slice('http_header:'.length), value));
    } else if (name.startsWith('http_header_url:')) {
      const [, index = '', headerName = ''] = /^http_header_url:(\d{1,9}):(.*)$/s.exec(name) ?? [];
      if (index === '') throw malformed(name, 'is not http_header_url:INDEX:NAME');
      const headers = this.#byIndex.get(Number(index)) ?? [];
      this.#byIndex.set(Number(index), [...headers, header(headerName, value)]);
    } else return false;
    return true;
  }

  /** Those for one of the request's URIs; what is for it alone wins. */
  for(uris: readonly string[], index: number): Headers {
    const own = this.#byIndex.get(index) ?? [];
    const byUri = this.#byUri.get(canonical(uris[index] ?? '')) ?? [];
    const all = [...this.#forAll, ...byUri, ...own];
    return new Map(all.map(({ name, value }) => [name, value]));
  }

  /** Older Bazels: a JSON object of objects, from URI to header name to value or values. */
  #addAuthHeaders(text: string): void {
    for (const [uri, headers] of Object.entries(tableOf(text))) {
      const found = Object.entries(isTable(headers) ? headers : notATable()).map(([name, value]) =>
        header(name, Array.isArray(value) ? value.join(', ') : String(value)),
      );
      this.#byUri.set(canonical(uri), found);
    }
  }
}

/** What may go on to another host, after a redirect. */
export function withoutSecrets(headers: Headers): Headers {
  return new Map([...headers].filter(([name]) => harmless.has(name)));
}

/** The same text for the same headers, and no way back to them without `secret`. */
export function fingerprintOf(headers: Headers, secret: string): string {
  if (headers.size === 0) return '';
  const sorted = [...headers].toSorted(([a], [b]) => (a < b ? -1 : 1));
  return createHmac('sha256', secret).update(JSON.stringify(sorted)).digest('hex');
}

function header(written: string, value: string): Header {
  const name = written.toLowerCase();
  try {
    validateHeaderName(name);
    validateHeaderValue(name, value);
  } catch {
    throw malformed(written, 'has a name or value that HTTP does not allow');
  }
  if (refused.has(name)) throw malformed(written, 'may not be set by a client');
  return { name, value };
}

function tableOf(text: string): Record<string, unknown> {
  try {
    const parsed: unknown = JSON.parse(text);
    return isTable(parsed) ? parsed : notATable();
  } catch {
    return notATable();
  }
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function notATable(): never {
  throw malformed('bazel.auth_headers', 'is not a JSON object of objects');
}

function canonical(uri: string): string {
  return URL.parse(uri)?.href ?? uri;
}

/** Never with the value, which is a secret. */
function malformed(name: string, why: string): StatusError {
  return new StatusError(Code.INVALID_ARGUMENT, `the request's header ${quoted(name)} ${why}`);
}
