import { get as httpGet, type IncomingMessage, type RequestOptions } from 'node:http';
import { get as httpsGet } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import type { Chunks } from '../base/chunks.ts';
import { Code } from '../base/status.ts';
import type { HostPolicy } from './host-policy.ts';
import { connectionFailure, OriginFailure, shown } from './origin-failure.ts';
import { type Headers, withoutSecrets } from './origin-headers.ts';

export interface HttpOptions {
  /** How long an origin may say nothing, also before its first byte. */
  readonly idleTimeoutMs: number;
  readonly redirectsMax: number;
  /** Certificates in PEM that are trusted; those of Node unless given. */
  readonly trustedCertificates: readonly string[] | undefined;
}

/** What an origin answered: bytes that are still to come. */
export interface HttpContent {
  readonly chunks: Chunks;
  /** As the origin announced it, if it did. */
  readonly sizeBytes: number | undefined;
}

/**
 * GET over HTTP or HTTPS. Each address is checked before it is connected to, after each redirect too
 * (AST-24), and the connection is made to the very address that was checked. Whatever goes wrong is an
 * OriginFailure; `signal` aborts with its reason. The chunks are to be read to their end, or returned.
 */
export async function httpContent(
  start: URL,
  headers: Headers,
  policy: HostPolicy,
  options: HttpOptions,
  signal: AbortSignal,
): Promise<HttpContent> {
  let url = start;
  let sent = new Map([...authorizationIn(url), ...headers]);
  for (let redirects = 0; ; redirects++) {
    signal.throwIfAborted();
    const addresses = await policy.addressesOf(url, signal);
    const { response, either } = await request(url, sent, addresses, options, signal);
    const { statusCode = 0, headers: answered } = response;
    if (statusCode === 200 || statusCode === 203) {
      const length = answered['content-length'];
      const sizeBytes = length === undefined ? undefined : Number(length);
      return { chunks: bodyOf(response, url, either), sizeBytes };
    }
    response.destroy();
    if (!redirections.has(statusCode) || answered.location === undefined) {
      throw failureOf(statusCode, url);
    }
    if (redirects >= options.redirectsMax) {
      throw new OriginFailure(Code.ABORTED, `${shown(start)} redirects too often`);
    }
    const next = URL.parse(answered.location, url);
    if (!next) {
      throw new OriginFailure(Code.ABORTED, `${shown(url)} redirects to what is no URL`);
    }
    // Secrets are for the host that they were given for, under its scheme and at its port.
    if (next.origin !== url.origin) sent = new Map(withoutSecrets(sent));
    url = next;
  }
}

const redirections: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

interface Answer {
  readonly response: IncomingMessage;
  /** Aborts when the caller's signal does, and when the origin is silent for too long. */
  readonly either: AbortSignal;
}

function request(
  url: URL,
  headers: Headers,
  addresses: readonly string[],
  options: HttpOptions,
  signal: AbortSignal,
): Promise<Answer> {
  const silence = new AbortController();
  const either = AbortSignal.any([signal, silence.signal]);
  const settings: RequestOptions & { ca?: string[] } = {
    headers: {
      'user-agent': 'expbuild',
      ...Object.fromEntries(headers),
      'accept-encoding': 'identity',
    },
    // A connection of its own: a pooled one may lead to an address that was checked for another host.
    agent: false,
    lookup: only(addresses),
    signal: either,
    timeout: options.idleTimeoutMs,
  };
  if (options.trustedCertificates) settings.ca = [...options.trustedCertificates];
  const bare = new URL(url);
  bare.username = '';
  bare.password = '';
  return new Promise((resolve, reject) => {
    const get = url.protocol === 'https:' ? httpsGet : httpGet;
    const sending = get(bare, settings, (response) => resolve({ response, either }));
    sending.on('timeout', () => silence.abort(silentOrigin(url, options.idleTimeoutMs)));
    sending.on('error', (thrown) => {
      reject(either.aborted ? (either.reason as Error) : connectionFailure(url, thrown));
    });
  });
}

/** Answers a connection's look-up with addresses that are known. */
function only(addresses: readonly string[]): LookupFunction {
  const found = addresses.map((address) => ({ address, family: isIP(address) }));
  return (_hostname, { all }, answer) => {
    if (all === true) answer(null, found);
    else answer(null, found[0]?.address ?? '', found[0]?.family);
  };
}

async function* bodyOf(response: IncomingMessage, url: URL, either: AbortSignal): Chunks {
  try {
    yield* response as AsyncIterable<Uint8Array>;
  } catch (thrown) {
    if (either.aborted) throw either.reason;
    throw connectionFailure(url, thrown);
  } finally {
    response.destroy();
  }
}

/** User and password of the URL, as other clients send them. */
export function authorizationIn({ username, password }: URL): Headers {
  if (username === '' && password === '') return new Map();
  const pair = `${decoded(username)}:${decoded(password)}`;
  return new Map([['authorization', `Basic ${Buffer.from(pair).toString('base64')}`]]);
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

const codeOfStatus: ReadonlyMap<number, Code> = new Map([
  [401, Code.PERMISSION_DENIED],
  [403, Code.PERMISSION_DENIED],
  [404, Code.NOT_FOUND],
  [407, Code.PERMISSION_DENIED],
  [408, Code.DEADLINE_EXCEEDED],
  [410, Code.NOT_FOUND],
  [429, Code.RESOURCE_EXHAUSTED],
  [504, Code.DEADLINE_EXCEEDED],
]);

/** Errors of the origin's own may pass; any other answer is not the content that was asked for. */
function failureOf(status: number, url: URL): OriginFailure {
  const code = codeOfStatus.get(status) ?? (status >= 500 ? Code.UNAVAILABLE : Code.ABORTED);
  return new OriginFailure(code, `${shown(url)} answers with HTTP status ${status}`);
}

function silentOrigin(url: URL, idleTimeoutMs: number): OriginFailure {
  return new OriginFailure(
    Code.DEADLINE_EXCEEDED,
    `the host of ${shown(url)} was silent for ${idleTimeoutMs / 1000} s`,
  );
}
