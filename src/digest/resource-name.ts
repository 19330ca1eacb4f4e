import { quoted } from '../base/quoted.ts';
import { Code, StatusError } from '../base/status.ts';
import { DigestFunction_Value } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { AnnouncedDigestFunctions } from './announced-digest-functions.ts';
import type { DigestFunction } from './digest-function.ts';
import { allDigestFunctions } from './digest-functions.ts';
import { Digest } from './digest.ts';
import { checkInstanceName } from './instance-name.ts';

/** How the bytes of a blob are packed on the wire; names and digests are of the plain bytes (BS-05). */
export type Compressor = 'identity' | 'zstd' | 'deflate' | 'brotli';

/** What a ByteStream resource name says, before the instance has said which digest it means. */
export interface ReadName {
  readonly instanceName: string;
  readonly compressor: Compressor;
  /** Undefined when the name has no segment for it: then the hash's length tells (BS-04). */
  readonly digestFunction: DigestFunction | undefined;
  readonly hash: string;
  readonly sizeBytes: number;
}

export interface WriteName extends ReadName {
  /** Chosen by the client, of any form, maybe shared by uploads of different blobs (BS-07). */
  readonly uploadId: string;
}

/** A write name may end in any metadata, which is ignored (BS-06); this much of it is a mistake. */
const NAME_LENGTH_MAX = 16_384;

const decimal = /^(?:0|[1-9][0-9]{0,15})$/;

/**
 * Parses `[instance/]blobs/[function/]hash/size` and its compressed forms; empty segments are dropped,
 * since moon sends them (GEN-03). Fails with INVALID_ARGUMENT for anything else (BS-01 to BS-08).
 */
export function parseReadName(name: string): ReadName {
  const segments = segmentsOf(name);
  const at = segments.findIndex((segment) => segment === 'blobs' || segment === 'compressed-blobs');
  if (at < 0) throw refusal(name, 'has no segment "blobs" or "compressed-blobs"');
  if (segments.slice(0, at).includes('uploads')) {
    throw refusal(name, 'is for writing: to read, leave out "uploads" and the id after it');
  }
  const { rest, ...blob } = parseBlob(name, segments.slice(at));
  if (rest.length > 0) throw refusal(name, 'goes on after the size');
  return { instanceName: instanceOf(segments.slice(0, at)), ...blob };
}

/**
 * Parses `[instance/]uploads/id/blobs/[function/]hash/size[/metadata]` and its compressed forms, as
 * `parseReadName` does.
 */
export function parseWriteName(name: string): WriteName {
  const segments = segmentsOf(name);
  const at = segments.indexOf('uploads');
  if (at < 0) throw refusal(name, 'has no segment "uploads", which writes need');
  const uploadId = segments[at + 1];
  if (uploadId === undefined) throw refusal(name, 'has no id after "uploads"');
  const { rest: _metadata, ...blob } = parseBlob(name, segments.slice(at + 2));
  return { instanceName: instanceOf(segments.slice(0, at)), uploadId, ...blob };
}

/** The digest that a parsed name means in an instance; INVALID_ARGUMENT when it can mean none. */
export function digestOfName(name: ReadName, announced: AnnouncedDigestFunctions): Digest {
  const value = name.digestFunction?.value ?? DigestFunction_Value.UNKNOWN;
  return Digest.of(announced.resolve(value, name.hash), name.hash, name.sizeBytes);
}

export function formatReadName(
  instanceName: string,
  digest: Digest,
  compressor: Compressor,
): string {
  const kind = compressor === 'identity' ? 'blobs' : `compressed-blobs/${compressor}`;
  return `${instanceName === '' ? '' : `${instanceName}/`}${kind}/${digest}`;
}

export function formatWriteName(
  instanceName: string,
  uploadId: string,
  digest: Digest,
  compressor: Compressor,
): string {
  const prefix = instanceName === '' ? '' : `${instanceName}/`;
  return `${prefix}uploads/${uploadId}/${formatReadName('', digest, compressor)}`;
}

type Blob = Omit<ReadName, 'instanceName'> & { readonly rest: readonly string[] };

function parseBlob(name: string, segments: readonly string[]): Blob {
  const [kind, ...afterKind] = segments;
  if (kind !== 'blobs' && kind !== 'compressed-blobs') {
    throw refusal(name, 'has no "blobs" or "compressed-blobs" where it belongs');
  }
  const compressor = kind === 'blobs' ? 'identity' : compressorOf(name, afterKind.shift());
  const digestFunction = allDigestFunctions.find(
    ({ segment }) => segment !== undefined && segment === afterKind[0],
  );
  if (digestFunction) afterKind.shift();
  const [hash, size, ...rest] = afterKind;
  if (hash === undefined || size === undefined) throw refusal(name, 'ends before the size');
  if (allDigestFunctions.some((known) => known.name.toLowerCase() === hash.toLowerCase())) {
    throw refusal(name, `must not have the segment ${JSON.stringify(hash)}`);
  }
  if (!decimal.test(size)) throw refusal(name, `has no size where ${quoted(size)} stands`);
  return { compressor, digestFunction, hash, sizeBytes: Number(size), rest };
}

function compressorOf(name: string, segment: string | undefined): Compressor {
  if (segment === 'zstd' || segment === 'deflate' || segment === 'brotli') return segment;
  throw refusal(name, 'has no compressor after "compressed-blobs": zstd, deflate, or brotli');
}

function segmentsOf(name: string): string[] {
  if (name.length > NAME_LENGTH_MAX) {
    throw refusal(name, `is longer than ${NAME_LENGTH_MAX} characters`);
  }
  return name.split('/').filter((segment) => segment !== '');
}

function instanceOf(segments: readonly string[]): string {
  const name = segments.join('/');
  checkInstanceName(name);
  return name;
}

function refusal(name: string, flaw: string): StatusError {
  const shown = name.length > 300 ? `${name.slice(0, 300)}…` : name;
  return new StatusError(Code.INVALID_ARGUMENT, `resource name ${JSON.stringify(shown)} ${flaw}`);
}
