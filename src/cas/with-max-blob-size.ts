import { Code, StatusError } from '../base/status.ts';
import type { BlobStore } from './blob-store.ts';

/**
 * Refuses to store a blob of more than `sizeBytesMax` bytes before its first byte is read (CAP-15,
 * BS-43). Larger blobs that are there already can still be found and read.
 */
export function withMaxBlobSize(base: BlobStore, sizeBytesMax: number): BlobStore {
  return {
    findMissing: (digests, signal) => base.findMissing(digests, signal),
    read: (digest, offset, signal) => base.read(digest, offset, signal),
    write: async (digest, chunks, signal) => {
      if (digest.sizeBytes > sizeBytesMax) {
        throw new StatusError(
          Code.INVALID_ARGUMENT,
          `blob ${digest} is larger than this server's limit of ${sizeBytesMax} bytes for a blob`,
        );
      }
      await base.write(digest, chunks, signal);
    },
  };
}
