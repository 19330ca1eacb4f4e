import type { FileHandle } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { type Chunks, chunksOf, collect } from '../base/chunks.ts';
import { Code, StatusError } from '../base/status.ts';
import { Digest } from '../digest/digest.ts';
import { blobNotFound, checkReadOffset } from './blob-errors.ts';
import type { BlobStore } from './blob-store.ts';
import { fill } from './find-flaw.ts';
import { condemn, type LocalDisk } from './local-disk.ts';
import { diskBytesOf, storedBlob, type StoredBlob } from './stored-blob.ts';
import { untilAborted } from '../base/until-aborted.ts';
import { UploadCheck } from './upload-check.ts';

/** Digests looked up before others get a turn: 500 hold the event loop for about 5 ms. */
const sliceDigests = 500;

/** Blobs up to this size are read and written in one piece; an upload is checked before there is a file. */
const smallBytes = 64 * 1024;

/** The blobs of one instance as files on this disk. */
export class LocalBlobStore implements BlobStore {
  readonly #disk: LocalDisk;
  readonly #namespace: string;

  /** `namespace` is a folder name, see namespaceFolder. */
  constructor(disk: LocalDisk, namespace: string) {
    this.#disk = disk;
    this.#namespace = namespace;
  }

  async findMissing(digests: readonly Digest[], signal: AbortSignal): Promise<Digest[]> {
    const missing = new Map<string, Digest>();
    for (let at = 0; at < digests.length; at += sliceDigests) {
      if (at > 0) await setImmediate();
      signal.throwIfAborted();
      for (const digest of digests.slice(at, at + sliceDigests)) {
        const blob = storedBlob(this.#namespace, digest);
        if (!this.#usePresent(blob)) missing.set(blob.path, digest);
      }
    }
    signal.throwIfAborted();
    return [...missing.values()];
  }

  async *read(digest: Digest, offset: number, signal: AbortSignal): Chunks {
    checkReadOffset(digest, offset);
    signal.throwIfAborted();
    const blob = storedBlob(this.#namespace, digest);
    if (digest.sizeBytes <= smallBytes) {
      const bytes = this.#readSmall(blob, digest);
      yield* chunksOf(bytes.subarray(offset));
      return;
    }
    if (!this.#usePresent(blob)) throw blobNotFound(digest);
    const unpin = this.#disk.pins.pin(blob.path, diskBytesOf(blob.sizeBytes));
    const end = this.#disk.pieces.begin();
    try {
      const file = await this.#open(blob, digest);
      try {
        yield* this.#readFile(file, blob, digest, offset, signal);
      } finally {
        await file.close();
      }
    } finally {
      end();
      unpin();
    }
  }

  async write(digest: Digest, chunks: Chunks, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const blob = storedBlob(this.#namespace, digest);
    if (this.#usePresent(blob)) return;
    const unpin = this.#disk.pins.pin(blob.path, 0);
    const upload = this.#disk.uploads.begin(blob.path);
    try {
      const reserved = this.#disk.space.reserve(blob);
      try {
        const arriving = checked(digest, untilAborted(chunks, signal, upload.completed));
        await this.#store(blob, reserved.filled(arriving, signal));
        upload.complete();
      } finally {
        reserved.release();
      }
    } catch (thrown) {
      if (!upload.completed.aborted) throw thrown;
    } finally {
      upload.end();
      unpin();
    }
  }

  async #store(blob: StoredBlob, chunks: Chunks): Promise<void> {
    const { files, index, pins } = this.#disk;
    const isSmall = blob.sizeBytes <= smallBytes;
    const file = isSmall
      ? await files.receiveSmall(await collect(chunks))
      : await files.receive(chunks);
    try {
      await files.publish(file, blob);
      // The row comes last: a crash before it leaves a file without a row, never a row without a file.
      await index.insert(blob);
    } catch (thrown) {
      await files.discard(file);
      if (pins.count(blob.path) === 1 && !index.has(blob)) await files.remove(blob);
      throw thrown;
    }
  }

  /** Whether the blob can be served now (CAS-02); if so it counts as used just now. */
  #usePresent(blob: StoredBlob): boolean {
    const { index, files } = this.#disk;
    if (!index.use(blob)) return false;
    if (files.isIntact(blob)) return true;
    condemn(this.#disk, blob, 'its file is gone or has another size');
    return false;
  }

  /** Synchronous, so nothing can happen to the file in between. */
  #readSmall(blob: StoredBlob, digest: Digest): Uint8Array {
    const { index, files } = this.#disk;
    if (!index.use(blob)) throw blobNotFound(digest);
    const bytes = files.readSmall(blob);
    if (!bytes) {
      condemn(this.#disk, blob, 'its file is gone, has another size or cannot be read');
      throw blobNotFound(digest);
    }
    if (!Digest.ofBytes(digest.function, bytes).equals(digest)) {
      throw this.#corrupt(blob, digest, 'its bytes have another hash', false);
    }
    return bytes;
  }

  async #open(blob: StoredBlob, digest: Digest): Promise<FileHandle> {
    try {
      return await this.#disk.files.open(blob);
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown;
      if (!this.#disk.files.isIntact(blob)) condemn(this.#disk, blob, 'its file is gone');
      throw blobNotFound(digest);
    }
  }

  async *#readFile(
    file: FileHandle,
    blob: StoredBlob,
    digest: Digest,
    offset: number,
    signal: AbortSignal,
  ): Chunks {
    const hasher = offset === 0 ? digest.function.createHasher(digest.sizeBytes) : undefined;
    for (let at = offset; at < digest.sizeBytes;) {
      signal.throwIfAborted();
      const buffer = Buffer.allocUnsafe(Math.min(this.#disk.pieces.bytes, digest.sizeBytes - at));
      const flaw = await fill(file, buffer, at);
      const begun = at > offset;
      if (flaw !== undefined) throw this.#corrupt(blob, digest, flaw, begun, await file.stat());
      at += buffer.length;
      hasher?.update(buffer);
      if (at === digest.sizeBytes && hasher && hasher.digest() !== digest.hash) {
        const stats = await file.stat();
        throw this.#corrupt(blob, digest, 'its bytes have another hash', begun, stats);
      }
      yield buffer;
    }
  }

  /**
   * Puts the blob away, see condemn, and gives the error to answer (CI-05): it is as good as absent
   * (CAS-37), unless the reader has `begun` to get its bytes (BS-19).
   */
  #corrupt(
    blob: StoredBlob,
    digest: Digest,
    flaw: string,
    begun: boolean,
    file?: { readonly ino: number },
  ): StatusError {
    condemn(this.#disk, blob, flaw, file);
    return new StatusError(
      begun ? Code.INTERNAL : Code.NOT_FOUND,
      `the stored blob ${digest} is damaged: ${flaw}; it counts as missing now, upload it again`,
    );
  }
}

async function* checked(digest: Digest, chunks: Chunks): Chunks {
  const check = new UploadCheck(digest);
  for await (const chunk of chunks) {
    check.update(chunk);
    yield chunk;
  }
  check.finish();
}
