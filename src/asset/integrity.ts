import { createHash, type Hash } from 'node:crypto';
import { quoted } from '../base/quoted.ts';
import { Code, StatusError } from '../base/status.ts';

/** By strength; the number is how long a hash is in Base64. */
const algorithms = new Map([
  ['sha512', 88],
  ['sha384', 64],
  ['sha256', 44],
]);

const standardBase64 = /^[A-Za-z0-9+/]+={0,2}$/;

/** What content must hash to, as `checksum.sri` says it (AST-18). */
export class Integrity {
  readonly #algorithm: string;
  readonly #hashes: ReadonlySet<string>;

  private constructor(algorithm: string, hashes: ReadonlySet<string>) {
    this.#algorithm = algorithm;
    this.#hashes = hashes;
  }

  /**
   * Subresource Integrity metadata: `sha256-BASE64`, several separated by whitespace. The strongest
   * algorithm counts, and there any of its hashes will do (W3C Subresource Integrity, 3.3). Fails with
   * INVALID_ARGUMENT when a hash is malformed, or no algorithm is known.
   */
  static parse(text: string): Integrity {
    const byAlgorithm = new Map<string, Set<string>>();
    for (const value of text.split(/[\t\n\f\r ]+/).filter((part) => part !== '')) {
      const [, algorithm = '', hash = ''] = /^([^-]+)-([^?]*)(?:\?.*)?$/.exec(value) ?? [];
      const length = algorithms.get(algorithm);
      if (length === undefined) continue;
      if (hash.length !== length || !standardBase64.test(hash)) {
        throw invalid(`${quoted(value)} is not ${algorithm}- and a hash in Base64`);
      }
      byAlgorithm.set(algorithm, (byAlgorithm.get(algorithm) ?? new Set()).add(hash));
    }
    for (const algorithm of algorithms.keys()) {
      const hashes = byAlgorithm.get(algorithm);
      if (hashes) return new Integrity(algorithm, hashes);
    }
    throw invalid('it has no sha256, sha384 or sha512 hash');
  }

  createHash(): Hash {
    return createHash(this.#algorithm);
  }

  /** Why content with this hash is not the right one; undefined if it is. */
  findFlaw(hash: Hash): string | undefined {
    const found = hash.digest('base64');
    if (this.#hashes.has(found)) return undefined;
    const wanted = [...this.#hashes].map((one) => `${this.#algorithm}-${one}`).join(' ');
    return `its checksum is ${this.#algorithm}-${found}, and not ${wanted}`;
  }
}

function invalid(why: string): StatusError {
  return new StatusError(Code.INVALID_ARGUMENT, `qualifier checksum.sri is invalid: ${why}`);
}
