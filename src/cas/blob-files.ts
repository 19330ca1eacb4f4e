import {
  closeSync,
  fdatasync,
  fstatSync,
  lstatSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  type Stats,
  writeFileSync,
} from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import type { Chunks } from '../base/chunks.ts';
import { StatusError } from '../base/status.ts';
import { DirectorySync } from './directory-sync.ts';
import type { StoredBlob } from './stored-blob.ts';

/**
 * What an upload's acknowledgement is worth. `full`: the blob survives a power cut; its file and folder
 * are on the disk before the answer. `normal`: it survives a crash of this process; a power cut may lose
 * the last seconds.
 */
export type Durability = 'full' | 'normal';

const datasync = promisify(fdatasync);

/** Damaged blobs kept for a look at them; older ones are deleted. */
const quarantineFilesMax = 16;

/** The files of a disk's blobs: moved into place whole, so that a crash leaves litter, never half a blob. */
export class BlobFiles {
  readonly blobsFolder: string;
  readonly incomingFolder: string;
  readonly #quarantineFolder: string;
  readonly #durability: Durability;
  readonly #incomingPrefix: string;
  readonly #directories = new DirectorySync();
  /** Files on their way out: a new one of the same name must wait for that. */
  readonly #removals = new Map<string, Promise<void>>();
  readonly #quarantined: string[] = [];
  #incoming = 0;

  /** `incomingPrefix` is what no earlier process has called its incoming files. */
  constructor(root: string, durability: Durability, incomingPrefix: string) {
    this.blobsFolder = path.join(root, 'blobs-v1');
    this.incomingFolder = path.join(root, 'incoming');
    this.#quarantineFolder = path.join(root, 'quarantine');
    this.#durability = durability;
    this.#incomingPrefix = incomingPrefix;
  }

  async prepare(): Promise<void> {
    for (const folder of [this.blobsFolder, this.incomingFolder, this.#quarantineFolder]) {
      await mkdir(folder, { recursive: true });
    }
    this.#quarantined.push(...(await readdir(this.#quarantineFolder)));
  }

  pathOf(blob: StoredBlob): string {
    return `${this.blobsFolder}/${blob.path}`;
  }

  /** Whether the blob's file is there with the right size: what 4 µs can tell. */
  isIntact(blob: StoredBlob): boolean {
    const stats = lstatExisting(this.pathOf(blob));
    return stats !== undefined && stats.isFile() && stats.size === blob.sizeBytes;
  }

  inodeOf(blob: StoredBlob): number | undefined {
    return lstatExisting(this.pathOf(blob))?.ino;
  }

  /**
   * The bytes of a small blob, or undefined when its file is not there with the right size or the disk
   * cannot read it. It does not wait: from the page cache this takes 10 µs, through the thread pool 70.
   */
  readSmall(blob: StoredBlob): Uint8Array | undefined {
    const fd = openExisting(this.pathOf(blob));
    if (fd === undefined) return undefined;
    try {
      const stats = fstatSync(fd);
      if (!stats.isFile() || stats.size !== blob.sizeBytes) return undefined;
      const buffer = Buffer.allocUnsafe(blob.sizeBytes);
      let at = 0;
      while (at < buffer.length) {
        const bytesRead = readSync(fd, buffer, at, buffer.length - at, at);
        if (bytesRead === 0) return undefined;
        at += bytesRead;
      }
      return buffer;
    } catch (thrown) {
      if (codeOf(thrown) === 'EIO') return undefined;
      throw thrown;
    } finally {
      closeSync(fd);
    }
  }

  open(blob: StoredBlob): Promise<FileHandle> {
    return open(this.pathOf(blob), 'r');
  }

  /** Writes all of `chunks` to a file in the incoming folder and gives its path; or leaves none. */
  async receive(chunks: Chunks): Promise<string> {
    const file = this.#nextIncoming();
    const handle = await onDisk(file, open(file, 'wx', 0o444));
    try {
      try {
        for await (const chunk of chunks) await onDisk(file, writeAll(handle, chunk));
        if (this.#durability === 'full') await onDisk(file, handle.datasync());
      } finally {
        await handle.close();
      }
    } catch (thrown) {
      await rm(file, { force: true });
      throw thrown;
    }
    return file;
  }

  /**
   * Writes a small blob to a file in the incoming folder and gives its path; or leaves none. It waits for
   * the disk only to make the file durable: what the page cache takes at once is three times as fast
   * without the way through the thread pool.
   */
  async receiveSmall(bytes: Uint8Array): Promise<string> {
    const file = this.#nextIncoming();
    try {
      const fd = openSync(file, 'wx', 0o444);
      try {
        writeFileSync(fd, bytes);
        if (this.#durability === 'full') await datasync(fd);
      } finally {
        closeSync(fd);
      }
    } catch (thrown) {
      rmSync(file, { force: true });
      throw duringWrite(file, thrown);
    }
    return file;
  }

  /** Moves an incoming file to where the blob belongs. */
  async publish(file: string, blob: StoredBlob): Promise<void> {
    const to = this.pathOf(blob);
    const folder = path.dirname(to);
    await this.#removals.get(to);
    try {
      renameSync(file, to);
    } catch (thrown) {
      if (codeOf(thrown) !== 'ENOENT') throw duringWrite(to, thrown);
      await onDisk(folder, this.#makeFolder(folder));
      await onDisk(to, rename(file, to));
    }
    if (this.#durability === 'full') await onDisk(folder, this.#directories.sync(folder));
  }

  /** Deletes an incoming file, if it is still there. */
  discard(file: string): Promise<void> {
    return rm(file, { force: true });
  }

  /** Deletes the blob's file, if there is one. */
  remove(blob: StoredBlob): Promise<void> {
    const file = this.pathOf(blob);
    const removal = rm(file, { recursive: true, force: true }).finally(() => {
      if (this.#removals.get(file) === removal) this.#removals.delete(file);
    });
    this.#removals.set(file, removal);
    return removal;
  }

  isIncomingOfThisProcess(fileName: string): boolean {
    return fileName.startsWith(this.#incomingPrefix);
  }

  /** Moves the blob's damaged file out of the way, at once, and gives its new path, if there was one. */
  quarantine(blob: StoredBlob): string | undefined {
    if (this.inodeOf(blob) === undefined) return undefined;
    const name = `${blob.functionName}-${blob.hash}-${blob.sizeBytes}`;
    const to = path.join(this.#quarantineFolder, name);
    if (this.#quarantined.includes(name))
      this.#quarantined.splice(this.#quarantined.indexOf(name), 1);
    rmSync(to, { recursive: true, force: true });
    renameSync(this.pathOf(blob), to);
    this.#quarantined.push(name);
    for (const old of this.#quarantined.splice(0, this.#quarantined.length - quarantineFilesMax)) {
      rmSync(path.join(this.#quarantineFolder, old), { recursive: true, force: true });
    }
    return to;
  }

  #nextIncoming(): string {
    return `${this.incomingFolder}/${this.#incomingPrefix}${++this.#incoming}`;
  }

  /** Makes the folder and those above it, durably from the folder of all blobs downwards. */
  async #makeFolder(folder: string): Promise<void> {
    await mkdir(folder, { recursive: true });
    if (this.#durability !== 'full') return;
    for (let at = folder; at !== this.blobsFolder;) {
      at = path.dirname(at);
      await this.#directories.sync(at);
    }
  }
}

/** A failing disk is told by its code and the place: RESOURCE_EXHAUSTED when it, or its inodes, ran out. */
function onDisk<T>(place: string, work: Promise<T>): Promise<T> {
  return work.catch((thrown: unknown) => {
    throw duringWrite(place, thrown);
  });
}

function duringWrite(place: string, thrown: unknown): StatusError {
  return StatusError.during(`writing ${place}`, thrown);
}

function codeOf(thrown: unknown): string | undefined {
  return (thrown as NodeJS.ErrnoException).code;
}

function lstatExisting(file: string): Stats | undefined {
  try {
    return lstatSync(file, { throwIfNoEntry: false });
  } catch (thrown) {
    if (codeOf(thrown) === 'ENOTDIR') return undefined;
    throw thrown;
  }
}

function openExisting(file: string): number | undefined {
  try {
    return openSync(file, 'r');
  } catch (thrown) {
    // The last two: another kind of file stands there, or in place of its folder.
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(codeOf(thrown) ?? '')) return undefined;
    throw thrown;
  }
}

async function writeAll(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let at = 0; at < chunk.length;) {
    at += (await handle.write(chunk, at, chunk.length - at)).bytesWritten;
  }
}
