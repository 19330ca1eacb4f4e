import { createHash } from 'node:crypto';
import type { DigestFunction } from '../digest/digest-function.ts';
import { Digest } from '../digest/digest.ts';

/** Bytes and their name. */
export interface Blob {
  readonly bytes: Uint8Array;
  readonly digest: Digest;
}

/**
 * Random blobs that depend on `seed` alone, so that a run can be repeated, and that nobody else has. Each
 * call gives others.
 */
export class RandomBlobs {
  readonly #seed: string;
  #calls = 0;

  constructor(seed: string) {
    this.#seed = seed;
  }

  bytes(sizeBytes: number): Buffer {
    this.#calls += 1;
    // Of the extendable hashes, whose output is as random as it is long.
    return createHash('shake256', { outputLength: sizeBytes })
      .update(`${this.#seed}/${this.#calls}`)
      .digest();
  }

  blob(digestFunction: DigestFunction, sizeBytes: number): Blob {
    return blobOf(digestFunction, this.bytes(sizeBytes));
  }

  /** Bytes that pack well: one kilobyte after the other, all the same. */
  packable(sizeBytes: number): Buffer {
    return Buffer.alloc(sizeBytes, this.bytes(1024));
  }

  /** A UUID of version 4. */
  uuid(): string {
    const hex = this.bytes(16).toString('hex');
    const variant = '89ab'[Number.parseInt(hex[16] ?? '0', 16) % 4];
    return [
      hex.slice(0, 8),
      hex.slice(8, 12),
      `4${hex.slice(13, 16)}`,
      `${variant}${hex.slice(17, 20)}`,
      hex.slice(20),
    ].join('-');
  }
}

export function blobOf(digestFunction: DigestFunction, bytes: Uint8Array): Blob {
  return { bytes, digest: Digest.ofBytes(digestFunction, bytes) };
}
