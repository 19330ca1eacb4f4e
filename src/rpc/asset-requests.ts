import type { AssetAnswer, AssetRequest, PushedAsset } from '../asset/remote-assets.ts';
import { canonicalIdName, parseQualifiers } from '../asset/qualifiers.ts';
import { Code, StatusError } from '../base/status.ts';
import { Digest } from '../digest/digest.ts';
import {
  DigestFunction_Value,
  type Digest as DigestMessage,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type {
  FetchBlobRequest,
  PushBlobRequest,
  Qualifier,
} from '../proto/build/bazel/remote/asset/v1/remote_asset.ts';
import type { Timestamp } from '../proto/google/protobuf/timestamp.ts';
import { Status } from '../proto/google/rpc/status.ts';
import type { Instance } from './instances.ts';
import { requestDigest } from './request-digests.ts';
import { timeoutMsOf } from './timeout-ms.ts';

/** How long origins may take (AST-14). */
export interface AssetTimeouts {
  readonly defaultTimeoutMs: number;
  /** Longer ones are cut to it. */
  readonly maxTimeoutMs: number;
}

/** Mirrors of one thing; Bazel users list a handful. */
const urisMax = 100;

/** What servers on the web take. */
const uriCharactersMax = 8192;

/** A scheme, as RFC 3986 has it, and something after it. */
const absoluteUri = /^[A-Za-z][A-Za-z0-9+.-]*:./s;

/**
 * A request for a blob or a directory, which have the same fields. Fails with INVALID_ARGUMENT when it
 * has no URI (AST-01) or anything in it is malformed.
 */
export function parseFetch(
  request: Omit<FetchBlobRequest, 'instanceName'>,
  { digestFunctions }: Instance,
  { defaultTimeoutMs, maxTimeoutMs }: AssetTimeouts,
): AssetRequest {
  const { timeout, oldestContentAccepted, digestFunction } = request;
  const { UNKNOWN, SHA256 } = DigestFunction_Value;
  const timeoutMs = timeout ? timeoutMsOf(timeout) : defaultTimeoutMs;
  return {
    uris: checkedUris(request.uris),
    qualifiers: parseQualifiers(request.qualifiers),
    digestFunction: digestFunctions.resolve(
      digestFunction === UNKNOWN ? SHA256 : digestFunction,
      undefined,
    ),
    timeoutMs: Math.min(timeoutMs, maxTimeoutMs),
    oldestAcceptedAt: momentOf(oldestContentAccepted, 'oldest_content_accepted'),
  };
}

/** References of one push: the blobs of a large artifact, some 8 MB of the request. */
const referencesMax = 100_000;

/** What is pushed, a blob or a directory: `digest` is in the field called `field`. */
export function parsePush(
  request: Omit<PushBlobRequest, 'instanceName' | 'blobDigest'>,
  digest: DigestMessage | undefined,
  field: string,
  { digestFunctions }: Instance,
): PushedAsset {
  const { referencesBlobs, referencesDirectories, expireAt } = request;
  const uris = checkedUris(request.uris);
  if (referencesBlobs.length + referencesDirectories.length > referencesMax) {
    throw invalid(`a push may refer to ${referencesMax} blobs and directories at most`);
  }
  const parsed = requestDigest(digestFunctions, request.digestFunction, digest, field);
  const referenceOf = (message: DigestMessage) =>
    Digest.fromMessage(parsed.function, message, 'a reference');
  return {
    uris,
    qualifiers: parseQualifiers(request.qualifiers),
    digest: parsed,
    referencesBlobs: referencesBlobs.map(referenceOf),
    referencesDirectories: referencesDirectories.map(referenceOf),
    expiresAt: momentOf(expireAt, 'expire_at'),
  };
}

/** What the responses of both fetches have in common; the digest has another name in each. */
export function fetchAnswer(
  answer: AssetAnswer,
  { digestFunction }: AssetRequest,
): {
  readonly status: Status;
  readonly uri: string;
  readonly qualifiers: Qualifier[];
  readonly digestFunction: DigestFunction_Value;
  readonly digest: DigestMessage | undefined;
} {
  const common = { uri: answer.uri, digestFunction: digestFunction.value };
  if (answer.kind === 'failed') {
    const status = Status.fromPartial({ code: answer.code, message: answer.message });
    // No digest, and not an empty one: some Bazels would download it (AST-10).
    return { ...common, status, qualifiers: [], digest: undefined };
  }
  const qualifiers = [...answer.qualifiers]
    .filter(([name]) => name !== canonicalIdName)
    .map(([name, value]) => ({ name, value }));
  return {
    ...common,
    status: Status.fromPartial({}),
    qualifiers,
    digest: answer.digest.toMessage(),
  };
}

/** Where the first of the URIs leads, for the log: the rest of it may hold secrets. */
export function hostOf([uri = '']: readonly string[]): string {
  const url = URL.parse(uri);
  return url ? url.host || url.protocol : '';
}

function checkedUris(uris: readonly string[]): readonly string[] {
  if (uris.length === 0) throw invalid('the request has no URI');
  if (uris.length > urisMax) throw invalid(`the request has more than ${urisMax} URIs`);
  for (const [index, uri] of uris.entries()) {
    if (uri.length <= uriCharactersMax && absoluteUri.test(uri)) continue;
    throw invalid(
      `uris[${index}] is not an absolute URI of up to ${uriCharactersMax} characters, such as ` +
        'https://example.com/file or urn:example:name',
    );
  }
  return uris;
}

/** In milliseconds since the Unix epoch. */
function momentOf(timestamp: Timestamp | undefined, field: string): number | undefined {
  if (!timestamp) return undefined;
  const { seconds, nanos } = timestamp;
  if (nanos < 0 || nanos > 999_999_999 || Math.abs(seconds) > TIMESTAMP_SECONDS_MAX) {
    throw invalid(`${field} of ${seconds} s and ${nanos} ns is malformed`);
  }
  return seconds * 1000 + Math.ceil(nanos / 1_000_000);
}

/** The last second of the year 9999, the end of google.protobuf.Timestamp. */
const TIMESTAMP_SECONDS_MAX = 253_402_300_799;

function invalid(message: string): StatusError {
  return new StatusError(Code.INVALID_ARGUMENT, message);
}
