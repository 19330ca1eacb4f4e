import type { BlobStore } from '../cas/blob-store.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import type { Digest } from '../digest/digest.ts';
import type { AssetKind } from './asset-table.ts';
import type { Integrity } from './integrity.ts';
import type { Headers } from './origin-headers.ts';

/** What is wanted of an origin. */
export interface Wanted {
  readonly url: URL;
  readonly content: ReadonlyMap<string, string>;
  readonly headers: Headers;
  readonly integrity: Integrity | undefined;
  readonly digestFunction: DigestFunction;
}

/** A way to get content from elsewhere into the CAS: over HTTP, from git. */
export interface Origin {
  readonly kind: AssetKind;
  /** The names of the qualifiers that it honours. */
  readonly qualifiers: ReadonlySet<string>;
  /** Whether it is the one for such a request. */
  takes(url: URL, content: ReadonlyMap<string, string>): boolean;
  /**
   * Stores what is at the URL if it is what the qualifiers say, and gives its digest. Fails with an
   * OriginFailure when the origin is at fault, with a StatusError when the request or this server is.
   */
  fetch(wanted: Wanted, blobs: BlobStore, signal: AbortSignal): Promise<Digest>;
}
