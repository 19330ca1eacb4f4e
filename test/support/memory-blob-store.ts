import { type Chunks, chunksOf } from '../../src/base/chunks.ts';
import { Code, StatusError } from '../../src/base/status.ts';
import type { BlobStore } from '../../src/cas/blob-store.ts';
import { UploadCheck } from '../../src/cas/upload-check.ts';
import { untilAborted } from '../../src/base/until-aborted.ts';
import { Digest } from '../../src/digest/digest.ts';
import { never } from './never.ts';

/** The least that keeps the promises of BlobStore, for tests of the rooms above it. */
export class PlainBlobStore implements BlobStore {
  readonly blobs = new Map<string, Uint8Array>();

  async findMissing(digests: readonly Digest[]): Promise<Digest[]> {
    const missing = new Map<string, Digest>();
    for (const digest of digests) {
      if (digest.sizeBytes > 0 && !this.blobs.has(digest.key)) missing.set(digest.key, digest);
    }
    return [...missing.values()];
  }

  async *read(digest: Digest, offset: number): Chunks {
    if (offset < 0 || offset > digest.sizeBytes) {
      throw new StatusError(Code.OUT_OF_RANGE, `offset ${offset} is not in ${digest}`);
    }
    if (digest.sizeBytes === 0) return;
    const bytes = this.blobs.get(digest.key);
    if (!bytes) throw new StatusError(Code.NOT_FOUND, `blob ${digest} is not here`);
    yield* chunksOf(bytes.subarray(offset));
  }

  async write(digest: Digest, chunks: Chunks, signal = never): Promise<void> {
    const check = new UploadCheck(digest);
    const parts: Uint8Array[] = [];
    for await (const chunk of untilAborted(chunks, signal)) {
      check.update(chunk);
      parts.push(chunk);
    }
    check.finish();
    const bytes = Buffer.concat(parts);
    if (digest.sizeBytes > 0) this.blobs.set(digest.key, bytes);
  }

  /** Stores bytes and gives their digest. */
  async put(content: string | Uint8Array, digestFunction: Digest['function']): Promise<Digest> {
    const bytes = typeof content === 'string' ? Buffer.from(content) : content;
    const digest = Digest.ofBytes(digestFunction, bytes);
    await this.write(digest, chunksOf(bytes));
    return digest;
  }
}
