import type { Clock } from '../base/clock.ts';
import { Code, StatusError } from '../base/status.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import type { Digest } from '../digest/digest.ts';
import { missingBlobs } from '../tree/missing-blobs.ts';
import type { Asset, AssetKey, AssetKind, AssetTable, Candidate } from './asset-table.ts';
import { missingOf } from './missing-of.ts';
import { OriginFailure } from './origin-failure.ts';
import type { OriginFetches } from './origin-fetches.ts';
import { fingerprintOf, type Headers } from './origin-headers.ts';
import type { Origin } from './origin.ts';
import { type Qualifiers, unsupportedQualifiers } from './qualifiers.ts';

/** What the assets of all instances share. */
export interface SharedAssets {
  readonly table: AssetTable;
  readonly fetches: OriginFetches<AssetAnswer>;
  /** None where only what was pushed is found (AST-32). */
  readonly origins: readonly Origin[];
  /** Whether clients may push (AST-30). */
  readonly pushAllowed: boolean;
  /** Known to this process alone: it hides the headers that assets were fetched with. */
  readonly secret: string;
  readonly clock: Clock;
}

/** A request that was checked. */
export interface AssetRequest {
  /** At least one; all stand for the same content (AST-02). */
  readonly uris: readonly string[];
  readonly qualifiers: Qualifiers;
  readonly digestFunction: DigestFunction;
  readonly timeoutMs: number;
  /** Nothing older will do; may be in the future (AST-12, AST-13). */
  readonly oldestAcceptedAt: number | undefined;
}

/** What came of a fetch, as its response says it. */
export type AssetAnswer =
  | {
      readonly kind: 'found';
      readonly uri: string;
      readonly qualifiers: ReadonlyMap<string, string>;
      readonly digest: Digest;
    }
  | {
      readonly kind: 'failed';
      readonly uri: string;
      readonly code: Code;
      readonly message: string;
    };

/** An asset as it is pushed. */
export interface PushedAsset {
  readonly uris: readonly string[];
  readonly qualifiers: Qualifiers;
  readonly digest: Digest;
  readonly referencesBlobs: readonly Digest[];
  readonly referencesDirectories: readonly Digest[];
  readonly expiresAt: number | undefined;
}

/** The assets of one instance: what was pushed to it, and what it fetched (AST-35). */
export class RemoteAssets {
  readonly #instanceName: string;
  readonly #blobs: BlobStore;
  readonly #shared: SharedAssets;

  constructor(instanceName: string, blobs: BlobStore, shared: SharedAssets) {
    this.#instanceName = instanceName;
    this.#blobs = blobs;
    this.#shared = shared;
  }

  /**
   * The asset, from the table or else from an origin; its blobs are in the CAS, and count as used
   * (AST-09). Fails with INVALID_ARGUMENT for qualifiers that cannot be honoured (AST-05).
   */
  async fetch(kind: AssetKind, request: AssetRequest, signal: AbortSignal): Promise<AssetAnswer> {
    const { origins, fetches, clock, pushAllowed, secret } = this.#shared;
    const { uris, qualifiers, digestFunction, timeoutMs, oldestAcceptedAt } = request;
    const { content, headers } = qualifiers;
    const ways = uris.flatMap((uri, index) => {
      const url = URL.parse(uri);
      const origin = url && origins.find((one) => one.kind === kind && one.takes(url, content));
      return url && origin ? [{ uri, url, origin, headers: headers.for(uris, index) }] : [];
    });
    // What was pushed may have any qualifiers; what is fetched has those that its origin can honour.
    const asked = ways.length > 0 || pushAllowed ? ways.map(({ origin }) => origin) : origins;
    const unsupported = [...content.keys()].filter(
      (name) => !asked.every((origin) => origin.qualifiers.has(name)),
    );
    if (unsupported.length > 0 && !pushAllowed) throw unsupportedQualifiers(unsupported);
    const found = await this.#find(kind, request, signal);
    if (found) return found;
    if (unsupported.length > 0) throw unsupportedQualifiers(unsupported);
    if (ways.length === 0) {
      const what = `no ${kind} was pushed under this URI, and it is not one that this server fetches`;
      return failed(uris[0], new OriginFailure(Code.NOT_FOUND, what));
    }
    const credentials = ways.map((way) => fingerprintOf(way.headers, secret));
    const key = JSON.stringify([
      this.#instanceName,
      kind,
      digestFunction.name,
      timeoutMs,
      uris,
      [...content],
      credentials,
    ]);
    const notBefore = Math.min(oldestAcceptedAt ?? -Infinity, clock.now());
    const fetchAny = (either: AbortSignal) => this.#fetchAny(kind, request, ways, either);
    try {
      return await fetches.run(key, { timeoutMs, notBefore }, fetchAny, signal);
    } catch (thrown) {
      // It waited for its turn for as long as it may take.
      if (thrown instanceof OriginFailure) return failed(uris[0], thrown);
      throw thrown;
    }
  }

  /**
   * Ties the URIs to a digest (AST-25, AST-26). Fails with FAILED_PRECONDITION when it, or anything that
   * it refers to, is not in the CAS.
   */
  async push(kind: AssetKind, pushed: PushedAsset, signal: AbortSignal): Promise<void> {
    const { table, clock, pushAllowed } = this.#shared;
    if (!pushAllowed) {
      throw new StatusError(
        Code.PERMISSION_DENIED,
        'clients may not push assets here (remote_asset.push_allowed); fetching works',
      );
    }
    const { uris, digest, qualifiers, ...rest } = pushed;
    const missing = await missingOf(kind, pushed, this.#blobs, signal);
    if (missing.length > 0) throw missingBlobs(missing);
    const keys = uris.map((uri) => this.#keyOf(kind, uri, digest.function));
    await table.put(keys, {
      ...rest,
      origin: 'pushed',
      qualifiers: qualifiers.content,
      credentials: '',
      digest,
      storedAt: clock.now(),
    });
  }

  async #find(
    kind: AssetKind,
    request: AssetRequest,
    signal: AbortSignal,
  ): Promise<AssetAnswer | undefined> {
    const { table } = this.#shared;
    for (const [index, uri] of request.uris.entries()) {
      const key = this.#keyOf(kind, uri, request.digestFunction);
      for (const candidate of table.candidates(key)) {
        if (!this.#isAnswer(candidate, request, index)) continue;
        const asset = await table.find(key, candidate);
        if (!asset || !(await this.#isComplete(kind, asset, signal))) continue;
        return { kind: 'found', uri, qualifiers: asset.qualifiers, digest: asset.digest };
      }
    }
    return undefined;
  }

  #isAnswer(candidate: Candidate, request: AssetRequest, index: number): boolean {
    const { clock, secret } = this.#shared;
    const { qualifiers, uris, oldestAcceptedAt = -Infinity } = request;
    if (candidate.expiresAt !== undefined && candidate.expiresAt <= clock.now()) return false;
    if (candidate.storedAt < oldestAcceptedAt) return false;
    for (const [name, value] of qualifiers.content) {
      if (candidate.qualifiers.get(name) !== value) return false;
    }
    // Who pushes may say more of the content than who fetches asks for (AST-27).
    if (candidate.origin === 'pushed') return true;
    if (candidate.qualifiers.size !== qualifiers.content.size) return false;
    // What needed a password is for those who have it, or who know the content already (AST-21).
    const isOpen = candidate.credentials === '' || qualifiers.integrity !== undefined;
    return (
      isOpen || candidate.credentials === fingerprintOf(qualifiers.headers.for(uris, index), secret)
    );
  }

  /** What was evicted is fetched or pushed again. */
  async #isComplete(kind: AssetKind, asset: Asset, signal: AbortSignal): Promise<boolean> {
    const missing = await missingOf(kind, asset, this.#blobs, signal);
    return missing.length === 0;
  }

  /** Tries the origins in turn; that of the last failure is told. */
  async #fetchAny(
    kind: AssetKind,
    { qualifiers, digestFunction }: AssetRequest,
    ways: readonly Way[],
    signal: AbortSignal,
  ): Promise<AssetAnswer> {
    const { content, integrity } = qualifiers;
    let answer: AssetAnswer | undefined;
    for (const { uri, url, origin, headers } of ways) {
      const storedAt = this.#shared.clock.now();
      try {
        const wanted = { url, content, headers, integrity, digestFunction };
        const digest = await origin.fetch(wanted, this.#blobs, signal);
        await this.#shared.table.put([this.#keyOf(kind, uri, digestFunction)], {
          origin: 'fetched',
          qualifiers: content,
          credentials: fingerprintOf(headers, this.#shared.secret),
          digest,
          referencesBlobs: [],
          referencesDirectories: [],
          storedAt,
          expiresAt: undefined,
        });
        return { kind: 'found', uri, qualifiers: content, digest };
      } catch (thrown) {
        if (!(thrown instanceof OriginFailure)) throw thrown;
        answer = failed(uri, thrown);
        if (signal.aborted) break;
      }
    }
    return answer as AssetAnswer;
  }

  #keyOf(kind: AssetKind, uri: string, digestFunction: DigestFunction): AssetKey {
    return { instanceName: this.#instanceName, kind, uri, digestFunction };
  }
}

/** One of a request's URIs, and how it is fetched. */
interface Way {
  readonly uri: string;
  readonly url: URL;
  readonly origin: Origin;
  readonly headers: Headers;
}

function failed(uri: string | undefined, { code, message }: OriginFailure): AssetAnswer {
  return { kind: 'failed', uri: uri ?? '', code, message };
}
