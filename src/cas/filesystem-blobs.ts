import { mkdir } from 'node:fs/promises';
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import { BlobFiles, type Durability } from './blob-files.ts';
import type { BlobIndex } from './blob-index.ts';
import type { BlobStorage, BlobStorageStats } from './blob-storage.ts';
import type { BlobStore } from './blob-store.ts';
import { ConcurrentUploads } from './concurrent-uploads.ts';
import { DiskSpace } from './disk-space.ts';
import { LocalBlobStore } from './local-blob-store.ts';
import type { LocalDisk } from './local-disk.ts';
import { lockFolder } from './lock-folder.ts';
import { openIndex } from './open-index.ts';
import { PieceSizes } from './piece-sizes.ts';
import { Pins } from './pins.ts';
import { namespaceFolder } from './stored-blob.ts';
import { sweepFiles } from './sweep-files.ts';
import { BlobVerifier } from './blob-verifier.ts';
import { withEmptyBlob } from './with-empty-blob.ts';

export interface FilesystemBlobsOptions {
  /** The folder of this store alone; made when it is not there. */
  readonly root: string;
  /** What the files of all blobs together may take of the disk. */
  readonly sizeBytesMax: number;
  readonly durability: Durability;
}

/** Blobs as files below one folder, with an index in SQLite. */
export class FilesystemBlobs implements BlobStorage {
  readonly #options: FilesystemBlobsOptions;
  readonly #clock: Clock;
  readonly #disk: LocalDisk;
  readonly #unlock: () => void;
  #corruptBlobs = 0;

  private constructor(
    options: FilesystemBlobsOptions,
    clock: Clock,
    log: Log,
    files: BlobFiles,
    index: BlobIndex,
    unlock: () => void,
  ) {
    this.#options = options;
    this.#clock = clock;
    this.#unlock = unlock;
    const pins = new Pins();
    this.#disk = {
      index,
      files,
      pins,
      pieces: new PieceSizes(),
      space: new DiskSpace(options.sizeBytesMax, index, files, pins),
      uploads: new ConcurrentUploads(),
      log,
      countDamaged: () => ++this.#corruptBlobs,
    };
  }

  /**
   * Opens the folder, in a time that does not depend on how many blobs there are; a damaged index is put
   * aside, and made anew by the sweep. Fails with FAILED_PRECONDITION when another process uses it (CC-08).
   */
  static async open(
    options: FilesystemBlobsOptions,
    clock: Clock,
    log: Log,
  ): Promise<FilesystemBlobs> {
    await mkdir(options.root, { recursive: true });
    const unlock = lockFolder(options.root);
    try {
      const prefix = `${process.pid}-${clock.now()}-`;
      const files = new BlobFiles(options.root, options.durability, prefix);
      await files.prepare();
      const index = openIndex(options, clock, log);
      return new FilesystemBlobs(options, clock, log, files, index, unlock);
    } catch (thrown) {
      unlock();
      throw thrown;
    }
  }

  namespace(name: string): BlobStore {
    return withEmptyBlob(new LocalBlobStore(this.#disk, namespaceFolder(name)));
  }

  stats(): BlobStorageStats {
    const { index, space } = this.#disk;
    return {
      blobs: index.totals().blobs,
      usedBytes: space.usedBytes,
      sizeBytesMax: this.#options.sizeBytesMax,
      evictedBlobs: space.evictedBlobs,
      evictedBytes: space.evictedBytes,
      corruptBlobs: this.#corruptBlobs,
    };
  }

  async sweep(signal: AbortSignal): Promise<void> {
    const swept = await sweepFiles(this.#disk, this.#clock, signal);
    this.#disk.log.info('swept the files of blobs', { ...swept });
  }

  verify(intervalMs: number, signal: AbortSignal): Promise<void> {
    return new BlobVerifier(this.#disk, intervalMs, this.#clock).run(signal);
  }

  async close(): Promise<void> {
    try {
      await this.#disk.index.close();
    } finally {
      this.#unlock();
    }
  }
}
