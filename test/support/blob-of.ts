import { sha256 } from '../../src/digest/digest-functions.ts';
import { Digest } from '../../src/digest/digest.ts';

export interface Blob {
  readonly bytes: Uint8Array;
  readonly digest: Digest;
}

/** A blob and its SHA-256 digest. */
export function blobOf(content: string | Uint8Array): Blob {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  return { bytes, digest: Digest.ofBytes(sha256, bytes) };
}
