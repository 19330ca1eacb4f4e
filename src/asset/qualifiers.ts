import { createHash } from 'node:crypto';
import { quoted } from '../base/quoted.ts';
import { Code, StatusError } from '../base/status.ts';
import type { Qualifier } from '../proto/build/bazel/remote/asset/v1/remote_asset.ts';
import { BadRequest } from '../proto/google/rpc/error_details.ts';
import { Integrity } from './integrity.ts';
import { OriginHeaders } from './origin-headers.ts';

/** What qualifiers say, those of one request together. */
export interface Qualifiers {
  /** Those that tell content from content, by name, in one order whatever the request's (AST-04). */
  readonly content: ReadonlyMap<string, string>;
  readonly headers: OriginHeaders;
  readonly integrity: Integrity | undefined;
}

/** Bazel sends a dozen, and a header or two for each of its URIs. */
const qualifiersMax = 1000;

/**
 * Names and values of all: headers for a hundred URIs, as tokens have a KiB or two. Those of older Bazels are JSON,
 * which takes a hundred times as much memory when it is read.
 */
const bytesMax = 256 * 1024;

/** Names and values of what is kept: canonical ids, branches and checksums are some hundred bytes. */
const contentBytesMax = 16 * 1024;

/**
 * Which content Bazel means, mostly the URIs that it knows for it. They may hold passwords and signatures, so
 * its hash stands for it wherever it is kept (AST-20, AST-21).
 */
export const canonicalIdName = 'bazel.canonical_id';

/**
 * The qualifiers of a request. Fails with INVALID_ARGUMENT when a name is empty or given twice (AST-03),
 * when they are too many or too long, or when one that is known is malformed.
 */
export function parseQualifiers(messages: readonly Qualifier[]): Qualifiers {
  if (messages.length > qualifiersMax) {
    throw invalid(`the request has more than ${qualifiersMax} qualifiers`);
  }
  if (bytesOf(messages.map(({ name, value }) => [name, value])) > bytesMax) {
    throw invalid(`the request's qualifiers have more than ${bytesMax} bytes`);
  }
  const names = new Set<string>();
  const headers = new OriginHeaders();
  const content: (readonly [name: string, value: string])[] = [];
  for (const { name, value } of messages) {
    if (name === '') throw invalid('a qualifier has no name');
    if (names.has(name)) throw invalid(`qualifier ${quoted(name)} is given twice`);
    names.add(name);
    if (headers.add(name, value)) continue;
    content.push([name, name === canonicalIdName ? hashed(value) : value]);
  }
  if (bytesOf(content) > contentBytesMax) {
    throw invalid(
      `the request's qualifiers have more than ${contentBytesMax} bytes beside headers`,
    );
  }
  const sorted = new Map(
    content.toSorted(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
  );
  const checksum = sorted.get('checksum.sri');
  const integrity = checksum === undefined ? undefined : Integrity.parse(checksum);
  return { content: sorted, headers, integrity };
}

function bytesOf(pairs: readonly (readonly [name: string, value: string])[]): number {
  return pairs.reduce((sum, pair) => sum + Buffer.byteLength(pair.join('')), 0);
}

function hashed(value: string): string {
  return createHash('sha256').update(value).digest('hex');
}

/** The error for qualifiers that a fetch cannot honour, each in a violation of its own (AST-05, AST-06). */
export function unsupportedQualifiers(names: readonly string[]): StatusError {
  const fieldViolations = names.map((name) => ({
    field: 'qualifiers.name',
    description: `"${name}" not supported`,
  }));
  const value = BadRequest.encode(BadRequest.fromPartial({ fieldViolations })).finish();
  return new StatusError(
    Code.INVALID_ARGUMENT,
    `nothing was pushed with these qualifiers, and for a fetch they are not supported: ${names.map(quoted).join(', ')}`,
    { details: [{ typeUrl: 'type.googleapis.com/google.rpc.BadRequest', value }] },
  );
}

function invalid(message: string): StatusError {
  return new StatusError(Code.INVALID_ARGUMENT, message);
}
