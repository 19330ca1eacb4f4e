import type { StatusError } from '../base/status.ts';
import { PreconditionFailure } from '../proto/google/rpc/error_details.ts';

/**
 * The blobs, as `[function/]hash/size`, that `error` says the server lacks: only if it says nothing else,
 * so that uploading them is all there is to do (CLI-11, EXE-52). Undefined for any other error.
 */
export function missingInputsOf({ details }: StatusError): string[] | undefined {
  const violations = details
    .filter(({ typeUrl }) => typeUrl.endsWith('/google.rpc.PreconditionFailure'))
    .flatMap(({ value }) => PreconditionFailure.decode(value).violations);
  if (violations.length === 0) return undefined;
  const names: string[] = [];
  for (const { type, subject } of violations) {
    const [, name] = /(?:^|\/)blobs\/(.+)$/.exec(subject) ?? [];
    if (type !== 'MISSING' || name === undefined) return undefined;
    names.push(name);
  }
  return names;
}
