import { Code, StatusError } from '../base/status.ts';
import type { AnnouncedDigestFunctions } from '../digest/announced-digest-functions.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import { Digest } from '../digest/digest.ts';
import type {
  Digest as DigestMessage,
  DigestFunction_Value,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';

/** The one digest of a request; `field` names it when it is absent (DIG-19). */
export function requestDigest(
  announced: AnnouncedDigestFunctions,
  value: DigestFunction_Value,
  message: DigestMessage | undefined,
  field: string,
): Digest {
  const digestFunction = announced.resolve(value, message?.hash);
  return Digest.fromMessage(digestFunction, message, field);
}

/**
 * The function of all digests of a batch. Hashes of another announced function beside them mean that
 * the client has mixed functions up, which fails the whole request (DIG-07, DIG-09); one that is
 * merely malformed is for the caller to report with its blob.
 */
export function batchDigestFunction(
  announced: AnnouncedDigestFunctions,
  value: DigestFunction_Value,
  hashes: readonly string[],
): DigestFunction {
  const lengths = new Set(announced.functions.map(({ hexLength }) => hexLength));
  const wellFormed = hashes.filter(({ length }) => lengths.has(length));
  const found = announced.resolve(value, wellFormed[0] ?? hashes[0]);
  const other = wellFormed.find(({ length }) => length !== found.hexLength);
  if (other === undefined) return found;
  throw new StatusError(
    Code.INVALID_ARGUMENT,
    `the digests of one request have one digest function, here ${found.name}; ${other} is of another`,
  );
}
