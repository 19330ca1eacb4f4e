import { isUtf8 } from 'node:buffer';
import { Code, StatusError } from '../base/status.ts';

/**
 * A name or link target off the disk. The API's strings are UTF-8, and anything else would come back as
 * another name: INVALID_ARGUMENT, saying what it is.
 */
export function textOf(bytes: Buffer, what: string): string {
  if (isUtf8(bytes)) return bytes.toString();
  const shown = JSON.stringify(bytes.toString('latin1'));
  throw new StatusError(Code.INVALID_ARGUMENT, `${what} is not UTF-8: ${shown}`);
}
