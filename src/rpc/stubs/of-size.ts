import type { Chunks } from '../../base/chunks.ts';
import { Code, StatusError } from '../../base/status.ts';
import type { Digest } from '../../digest/digest.ts';

/** The blob's chunks from `at` on; fails with INVALID_ARGUMENT unless they end where the blob does. */
export async function* ofSize(digest: Digest, chunks: Chunks, at: number): Chunks {
  let endsAt = at;
  for await (const chunk of chunks) {
    endsAt += chunk.length;
    if (endsAt > digest.sizeBytes) throw wrongSize(digest, `more than ${digest.sizeBytes}`);
    yield chunk;
  }
  if (endsAt < digest.sizeBytes) throw wrongSize(digest, `only ${endsAt}`);
}

function wrongSize(digest: Digest, bytes: string): StatusError {
  return new StatusError(Code.INVALID_ARGUMENT, `the upload of ${digest} has ${bytes} bytes`);
}
