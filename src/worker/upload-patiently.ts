import type { Clock } from '../base/clock.ts';
import { Code, StatusError } from '../base/status.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import { type BlobSource, uploadMissing } from '../tree/upload-files.ts';

/** Half a minute in all: uploads that take the last room end meanwhile, and others are evicted. */
const pausesMs = [1_000, 2_000, 4_000, 8_000, 16_000];

/**
 * Uploads what an action made. A store without room is tried again some times; then it fails with
 * FAILED_PRECONDITION: to run the action again would fill no less, here or on another worker (ERR-02). The sources
 * may be opened several times.
 */
export async function uploadPatiently(
  blobs: BlobStore,
  sources: readonly BlobSource[],
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  for (const pauseMs of [...pausesMs, undefined]) {
    try {
      await uploadMissing(blobs, sources, signal);
      return;
    } catch (error) {
      const { code, message } = StatusError.from(error);
      if (code !== Code.RESOURCE_EXHAUSTED) throw error;
      if (pauseMs === undefined) {
        const why = `what the action made cannot be stored, as the server has no room for it: ${message}`;
        throw new StatusError(Code.FAILED_PRECONDITION, why, { cause: error });
      }
      await clock.sleep(pauseMs, signal);
    }
  }
}
