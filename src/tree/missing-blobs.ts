import { Code, StatusError } from '../base/status.ts';
import type { Digest } from '../digest/digest.ts';
import { PreconditionFailure } from '../proto/google/rpc/error_details.ts';

/** More would pass the 8 KiB that some clients allow for a status in trailers many times over (EXE-53). */
const violationsMax = 1000;

/**
 * The error that makes a client upload what is missing and ask again: FAILED_PRECONDITION with one
 * PreconditionFailure, and in it one MISSING violation for each distinct blob (EXE-51, EXE-52).
 */
export function missingBlobs(digests: readonly Digest[]): StatusError {
  const subjects = new Set(digests.map((digest) => `blobs/${digest}`));
  const violations = [...subjects]
    .slice(0, violationsMax)
    .map((subject) => ({ type: 'MISSING', subject, description: '' }));
  const first = digests[0];
  const rest = subjects.size > 1 ? ` and ${subjects.size - 1} more` : '';
  return new StatusError(
    Code.FAILED_PRECONDITION,
    `blob ${first}${rest} not in the store: upload what is missing and try again`,
    {
      details: [
        {
          typeUrl: 'type.googleapis.com/google.rpc.PreconditionFailure',
          value: PreconditionFailure.encode(
            PreconditionFailure.fromPartial({ violations }),
          ).finish(),
        },
      ],
    },
  );
}
