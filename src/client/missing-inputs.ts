import type { StatusError } from '../base/status.ts';
import { PreconditionFailure } from '../proto/google/rpc/error_details.ts';
import { decodeMessage } from '../tree/decode-message.ts';

/**
 * The blobs, as `[function/]hash/size`, that `error` says the server lacks: only if it says nothing else,
 * so that uploading them is all there is to do (CLI-11, EXE-52). Undefined for any other error, and where the
 * list cannot be read.
 */
export function missingInputsOf({ details }: StatusError): string[] | undefined {
  const violations = violationsIn(details);
  if (violations.length === 0) return undefined;
  const names: string[] = [];
  for (const { type, subject } of violations) {
    const [, name] = /(?:^|\/)blobs\/(.+)$/.exec(subject) ?? [];
    if (type !== 'MISSING' || name === undefined) return undefined;
    names.push(name);
  }
  return names;
}

function violationsIn(details: StatusError['details']): PreconditionFailure['violations'] {
  try {
    return details
      .filter(({ typeUrl }) => typeUrl.endsWith('/google.rpc.PreconditionFailure'))
      .flatMap(({ value }) => decodeMessage(PreconditionFailure, value, 'it').violations);
  } catch {
    return []; // The code and the text are there all the same.
  }
}
