import type { DigestFunction } from '../digest/digest-function.ts';
import { allDigestFunctions } from '../digest/digest-functions.ts';
import { Digest } from '../digest/digest.ts';
import { UsageError } from './exit-codes.ts';

/**
 * A digest as people paste it: `hash/size`, also with the digest function before it and `blobs/` before
 * that, as resource names have it. `otherwise` is the function when none is named.
 */
export function parseDigestText(text: string, otherwise: DigestFunction): Digest {
  const [, segment, hash, size] = /^(?:blobs\/)?(?:(\w+)\/)?([0-9a-f]+)[/:](\d+)$/.exec(text) ?? [];
  const digestFunction =
    segment === undefined
      ? otherwise
      : allDigestFunctions.find((known) => known.name.toLowerCase() === segment.toLowerCase());
  if (hash === undefined || !digestFunction || hash.length !== digestFunction.hexLength) {
    throw new UsageError(
      `${JSON.stringify(text)} is not a digest; one of ${otherwise.name} is ` +
        `${otherwise.hexLength} hex characters, "/", and the size in bytes`,
    );
  }
  return Digest.of(digestFunction, hash, Number(size));
}
