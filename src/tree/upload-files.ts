import { type Chunks, counting } from '../base/chunks.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import type { Digest } from '../digest/digest.ts';
import { transferEach } from './transfer-each.ts';

/** A blob that is at hand, to be sent if the store lacks it. */
export interface BlobSource {
  readonly digest: Digest;
  /** Its bytes, from the start; called at most once. */
  open(): Chunks;
}

/** How far an upload has come. Blobs are counted once each, however often they were given. */
export interface UploadProgress {
  readonly blobs: number;
  readonly bytes: number;
  readonly sentBlobs: number;
  readonly sentBytes: number;
}

/** A digest takes about 80 bytes on the wire: far below a message's 4 MiB. */
const digestsPerCallMax = 10_000;

/**
 * Brings the blobs that `blobs` lacks to it: asks first, and sends no blob twice and none that is
 * empty. `onProgress` hears of each chunk that goes, for one blob may take minutes, and of each blob sent.
 */
export async function uploadMissing(
  blobs: BlobStore,
  sources: Iterable<BlobSource>,
  signal: AbortSignal,
  onProgress: (progress: UploadProgress) => void = () => {},
): Promise<UploadProgress> {
  const wanted = new Map<string, BlobSource>();
  for (const source of sources) {
    if (source.digest.sizeBytes > 0) wanted.set(source.digest.key, source);
  }
  const digests = [...wanted.values()].map(({ digest }) => digest);
  const bytes = digests.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  let progress: UploadProgress = { blobs: digests.length, bytes, sentBlobs: 0, sentBytes: 0 };
  let goingBytes = 0;
  for (let from = 0; from < digests.length; from += digestsPerCallMax) {
    const batch = digests.slice(from, from + digestsPerCallMax);
    const missing = await blobs.findMissing(batch, signal);
    await transferEach(
      missing.flatMap((digest) => wanted.get(digest.key) ?? []),
      async (source, either) => {
        const { digest } = source;
        let takenBytes = 0;
        const chunks = counting(source.open(), (chunkBytes) => {
          takenBytes += chunkBytes;
          goingBytes += chunkBytes;
          onProgress({ ...progress, sentBytes: progress.sentBytes + goingBytes });
        });
        await blobs.write(digest, chunks, either);
        goingBytes -= takenBytes;
        const { sentBlobs, sentBytes } = progress;
        progress = {
          ...progress,
          sentBlobs: sentBlobs + 1,
          sentBytes: sentBytes + digest.sizeBytes,
        };
        onProgress({ ...progress, sentBytes: progress.sentBytes + goingBytes });
      },
      signal,
    );
  }
  return progress;
}
