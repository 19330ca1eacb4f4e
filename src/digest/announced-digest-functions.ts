import { Code, StatusError } from '../base/status.ts';
import { DigestFunction_Value } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { DigestFunction } from './digest-function.ts';
import { allDigestFunctions, blake3, sha256 } from './digest-functions.ts';

/** What most clients use, and what they may choose for speed: BLAKE3 hashes large blobs thrice as fast. */
export const defaultDigestFunctions: readonly DigestFunction[] = [sha256, blake3];

/** The digest functions that an instance announces, and with them what a request may mean. */
export class AnnouncedDigestFunctions {
  /** At least one, none twice. */
  readonly functions: readonly DigestFunction[];

  constructor(functions: readonly DigestFunction[]) {
    if (functions.length === 0 || new Set(functions).size < functions.length) {
      throw new StatusError(
        Code.INVALID_ARGUMENT,
        'an instance must announce at least one digest function, and none twice',
      );
    }
    this.functions = functions;
  }

  /**
   * The digest function of a request, which may leave the field unset (0). It is then told by the length
   * of the request's first hash, among the functions that resource names leave out, so never BLAKE3
   * (DIG-04, DIG-05); a request without any digest gets the first one announced. Fails with
   * INVALID_ARGUMENT when the number is unknown, or names a function that is not announced, or nothing
   * fits the length (DIG-08, GEN-17). That all hashes have the function's length is seen by `Digest`.
   */
  resolve(value: DigestFunction_Value, firstHash: string | undefined): DigestFunction {
    if (value !== DigestFunction_Value.UNKNOWN) return this.#named(value);
    if (firstHash === undefined) return this.functions[0] as DigestFunction;
    const inferred = this.functions.find(
      ({ hexLength, segment }) => segment === undefined && hexLength === firstHash.length,
    );
    if (inferred) return inferred;
    throw new StatusError(
      Code.INVALID_ARGUMENT,
      `no digest function is named, and a hash of ${firstHash.length} characters does not tell which: ` +
        `this instance has ${this}; set digest_function`,
    );
  }

  /** For messages: `SHA256, BLAKE3`. */
  toString(): string {
    return namesOf(this.functions);
  }

  #named(value: DigestFunction_Value): DigestFunction {
    const found = this.functions.find((announced) => announced.value === value);
    if (found) return found;
    throw new StatusError(
      Code.INVALID_ARGUMENT,
      `digest function ${nameOf(value)} is not one of this instance's: ${this}`,
    );
  }
}

/** From names as people write them, in any case; fails with INVALID_ARGUMENT on one that is unknown. */
export function parseDigestFunctions(names: readonly string[]): AnnouncedDigestFunctions {
  const functions = names.map((name) => {
    const found = allDigestFunctions.find((known) => known.name === name.toUpperCase());
    if (found) return found;
    throw new StatusError(
      Code.INVALID_ARGUMENT,
      `digest function ${JSON.stringify(name)} is unknown; known are ${namesOf(allDigestFunctions)}`,
    );
  });
  return new AnnouncedDigestFunctions(functions);
}

function namesOf(functions: readonly DigestFunction[]): string {
  return functions.map(({ name }) => name).join(', ');
}

/** The API's name for a number, if it has one. */
function nameOf(value: number): string {
  const entry = Object.entries(DigestFunction_Value).find(([, known]) => known === value);
  return entry ? entry[0] : `number ${value}`;
}
