import { holdMemory } from '../base/memory.ts';
import { Code, StatusError } from '../base/status.ts';
import type { Digest } from '../digest/digest.ts';
import { ActionResult } from '../proto/whole/build/bazel/remote/execution/v2/remote_execution.ts';
import { decodeWeighed } from '../tree/decode-message.ts';

/**
 * What an entry takes beside its encoded result: names, indexes, times. Counted so that millions of
 * small results do not pass the bound many times over.
 */
export const ENTRY_OVERHEAD_BYTES = 256;

/**
 * A larger result could be stored but not read: 4 MiB is the largest message that clients take unasked, and
 * Execute answers with an operation around it.
 */
const RESULT_SIZE_BYTES_MAX = 3.75 * 1024 * 1024;

/**
 * A stored result, with fields that are unknown here (AC-25). Fails with INVALID_ARGUMENT when it cannot be
 * decoded.
 */
export function decodeResult(bytes: Uint8Array): ActionResult {
  const { message, memoryBytes } = decodeWeighed(ActionResult, bytes, 'the result');
  holdMemory(memoryBytes);
  return message;
}

/**
 * A result as it is stored, with fields that are unknown here (AC-25). Fails with INVALID_ARGUMENT when
 * it is too large to ever be sent.
 */
export function encodeResult(action: Digest, result: ActionResult): Uint8Array {
  const bytes = ActionResult.encode(result).finish();
  if (bytes.length <= RESULT_SIZE_BYTES_MAX) return bytes;
  throw new StatusError(
    Code.INVALID_ARGUMENT,
    `the result of action ${action} has ${bytes.length} bytes; at most ${RESULT_SIZE_BYTES_MAX} ` +
      'can be stored: name fewer outputs, or a directory that holds them',
  );
}
