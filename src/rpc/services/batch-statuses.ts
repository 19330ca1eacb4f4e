import { StatusError } from '../../base/status.ts';
import type { Status } from '../../proto/google/rpc/status.ts';
import { statusMessage } from '../any.ts';
import { RESPONSE_BYTES_MAX } from '../limits.ts';

/** What an entry of a response has beside hash and data: tags, lengths, size and the status's code. */
const ENTRY_OVERHEAD_BYTES = 32;

/** What the entries of a batch's response take, without data and texts. */
export function entryBytes(hashes: readonly string[]): number {
  return hashes.reduce((sum, { length }) => sum + length + ENTRY_OVERHEAD_BYTES, 0);
}

/**
 * The statuses of what failed in one batch: with their texts as long as the response, whose other
 * contents take `otherBytes`, stays a message that clients take; then with their codes alone (GEN-09).
 */
export class BatchStatuses {
  #roomBytes: number;

  constructor(otherBytes: number) {
    this.#roomBytes = RESPONSE_BYTES_MAX - otherBytes;
  }

  of(thrown: unknown): Status {
    const status = statusMessage(StatusError.from(thrown));
    this.#roomBytes -= Buffer.byteLength(status.message);
    return this.#roomBytes >= 0 ? status : { ...status, message: '' };
  }
}
