import { rmSync } from 'node:fs';
import { chmod, link, lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { NewId } from '../base/id.ts';
import { inputTime } from '../base/input-time.ts';
import type { Log } from '../base/log.ts';
import { Code, StatusError } from '../base/status.ts';
import { orAborted } from '../base/until-aborted.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import { diskBytesOf } from '../cas/stored-blob.ts';
import {
  type HeldFiles,
  type InputFile,
  type InputFiles,
  inputModeOf,
} from '../tree/input-files.ts';
import { digestOfFile } from '../tree/file-chunks.ts';
import { transferEach } from '../tree/transfer-each.ts';
import { type FileFacts, factsOf, isSame } from './file-facts.ts';

export interface FileCacheOptions {
  /** Of the disk; files nobody uses go once all together take more. */
  readonly bytesMax: number;
  /** The same for their number; undefined for a million. */
  readonly filesMax?: number | undefined;
  readonly newId: NewId;
  readonly log: Log;
}

/** Each takes half a kilobyte of memory: a million small ones would fit into 4 GB of disk. */
const defaultFilesMax = 1_000_000;

interface Entry {
  readonly name: string;
  readonly diskBytes: number;
  /** Actions that hold it; it stays while there are any. */
  holders: number;
  /** Settles once the file is on the disk and known to be right; undefined before the first use. */
  ready: Promise<void> | undefined;
  /** What the file system said of it when it was known to be right; undefined until then. */
  right: FileFacts | undefined;
  /** Each link that is made or removed changes the time of its last change. */
  isLinked: boolean;
  /** Aborts the download when nobody waits for it any more. */
  readonly stop: AbortController;
}

/**
 * The files of blobs on this disk, shared by all slots and kept across restarts: what input roots are
 * linked to or copied from. A blob is fetched once, however many want it; a file is written under another
 * name, closed and renamed, and never changed after (WRK-03, N5). Executables are files of their own.
 *
 * Commands cannot change it; what was changed all the same is thrown away with a warning, and fetched anew:
 * before each use its facts are compared, and after a restart its hash (CC-20). Of a file that was linked,
 * who is root could change the bytes and set back its time: that is found at the next restart alone.
 */
export class FileCache implements InputFiles {
  readonly #folder: string;
  readonly #options: FileCacheOptions;
  /** By file name, the ones used last at the end. */
  readonly #entries = new Map<string, Entry>();
  #diskBytes = 0;

  private constructor(folder: string, options: FileCacheOptions) {
    this.#folder = folder;
    this.#options = options;
  }

  /** Takes over what an earlier process left in `folder`; each file is checked before its first use. */
  static async open(folder: string, options: FileCacheOptions): Promise<FileCache> {
    const cache = new FileCache(folder, options);
    await rm(cache.#temporary, { recursive: true, force: true });
    await mkdir(cache.#temporary, { recursive: true });
    // Commands get links and copies; they need not see what others are made of.
    await chmod(folder, 0o700);
    for (const shard of shards) {
      await mkdir(path.join(folder, shard), { recursive: true });
      for (const name of await readdir(path.join(folder, shard))) {
        const sizeBytes = Number(/^[0-9a-f]+-[A-Z0-9]+-(\d+)(?:-x)?$/.exec(name)?.[1]);
        if (Number.isSafeInteger(sizeBytes)) cache.#add(newEntry(name, sizeBytes));
        else await rm(path.join(folder, shard, name), { recursive: true, force: true });
      }
    }
    cache.#evict();
    return cache;
  }

  /** Of all its files, as whole blocks. */
  get diskBytes(): number {
    return this.#diskBytes;
  }

  async hold(
    wanted: readonly InputFile[],
    blobs: BlobStore,
    signal: AbortSignal,
  ): Promise<HeldFiles> {
    const distinct = new Map(wanted.map((file) => [nameOf(file), file]));
    const held = new Map<string, Entry>();
    const missing = new Set<string>();
    const release = () => {
      for (const entry of held.values()) this.#letGo(entry);
      held.clear();
      this.#evict();
    };
    const holdOne = async (file: InputFile, either: AbortSignal) => {
      if (held.size % holdsAtOnce === 0) await setImmediate();
      const entry = this.#entryOf(file, blobs);
      held.set(nameOf(file), entry);
      try {
        await orAborted(entry.ready ?? Promise.resolve(), either);
      } catch (error) {
        if (!(error instanceof StatusError) || error.code !== Code.NOT_FOUND) throw error;
        missing.add(nameOf(file));
      }
    };
    try {
      await transferEach(distinct.values(), holdOne, signal);
    } catch (error) {
      release();
      throw error;
    }
    return {
      pathOf: (file) => this.#pathOf(nameOf(file)),
      link: (file, to) => {
        const entry = held.get(nameOf(file));
        if (entry) entry.isLinked = true;
        return link(this.#pathOf(nameOf(file)), to);
      },
      missing: [...missing].flatMap((name) => distinct.get(name)?.digest ?? []),
      release,
    };
  }

  /** The entry of a file, held once more and used just now. */
  #entryOf(file: InputFile, blobs: BlobStore): Entry {
    const name = nameOf(file);
    let known = this.#entries.get(name);
    if (known) this.#forget(known);
    if (known?.right && !isSame(known.right, this.#pathOf(name), known.isLinked)) {
      this.#warnOf(file, 'its size, mode, owner or times are not what they were');
      rmSync(this.#pathOf(name), { recursive: true, force: true });
      known = undefined;
    }
    const entry = known ?? newEntry(name, file.digest.sizeBytes);
    this.#add(entry);
    entry.holders++;
    entry.ready ??= this.#load(entry, known !== undefined, file, blobs);
    return entry;
  }

  async #load(entry: Entry, isThere: boolean, file: InputFile, blobs: BlobStore): Promise<void> {
    const { signal } = entry.stop;
    const place = this.#pathOf(entry.name);
    try {
      if (isThere && !(await this.#isIntact(place, file, signal))) {
        this.#warnOf(file, 'its bytes or its mode are not those of its digest');
        await rm(place, { recursive: true, force: true });
        await this.#download(place, file, blobs, signal);
      } else if (!isThere) {
        await this.#download(place, file, blobs, signal);
      }
      entry.right = factsOf(place);
    } catch (error) {
      this.#forget(entry);
      throw error;
    }
  }

  #letGo(entry: Entry): void {
    entry.holders--;
    if (entry.holders > 0 || entry.right) return;
    this.#forget(entry);
    entry.stop.abort();
  }

  #add(entry: Entry): void {
    this.#entries.set(entry.name, entry);
    this.#diskBytes += entry.diskBytes;
  }

  #forget(entry: Entry): void {
    if (this.#entries.get(entry.name) !== entry) return;
    this.#entries.delete(entry.name);
    this.#diskBytes -= entry.diskBytes;
  }

  /** A power cut, or a hand, may have changed what an earlier process left. */
  async #isIntact(place: string, file: InputFile, signal: AbortSignal): Promise<boolean> {
    try {
      const { mode, size } = await lstat(place);
      if ((mode & 0o7777) !== inputModeOf(file.isExecutable)) return false;
      if (size !== file.digest.sizeBytes) return false;
      const digest = await digestOfFile(place, file.digest.function, signal);
      return digest.equals(file.digest);
    } catch {
      signal.throwIfAborted();
      return false;
    }
  }

  #warnOf(file: InputFile, why: string): void {
    const fields = { digest: String(file.digest), path: this.#pathOf(nameOf(file)), why };
    this.#options.log.warn('a file of the input cache was changed and is thrown away', fields);
  }

  async #download(
    place: string,
    { digest, isExecutable }: InputFile,
    blobs: BlobStore,
    signal: AbortSignal,
  ): Promise<void> {
    const temporary = path.join(this.#temporary, this.#options.newId());
    try {
      const hasher = digest.function.createHasher(digest.sizeBytes);
      const file = await open(temporary, 'wx');
      try {
        for await (const chunk of blobs.read(digest, 0, signal)) {
          hasher.update(chunk);
          await file.writeFile(chunk);
        }
        await file.utimes(inputTime, inputTime);
      } finally {
        await file.close();
      }
      if (hasher.digest() !== digest.hash) {
        throw new StatusError(Code.INTERNAL, `blob ${digest} arrived with other bytes`);
      }
      await chmod(temporary, inputModeOf(isExecutable));
      await rename(temporary, place);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  /**
   * Removes what was not used for the longest time, until the rest is within the limits. At once, so that
   * a file that comes back meanwhile is not taken for the one that goes.
   */
  #evict(): void {
    const { bytesMax, filesMax = defaultFilesMax } = this.#options;
    for (const entry of this.#entries.values()) {
      if (this.#diskBytes <= bytesMax && this.#entries.size <= filesMax) return;
      if (entry.holders > 0) continue;
      this.#forget(entry);
      rmSync(this.#pathOf(entry.name), { recursive: true, force: true });
    }
  }

  get #temporary(): string {
    return path.join(this.#folder, 'tmp');
  }

  #pathOf(name: string): string {
    return path.join(this.#folder, name.slice(0, 2), name);
  }
}

/** Holds with nothing to fetch would go through many thousands without a pause. */
const holdsAtOnce = 256;

/** Few enough entries in each folder for every file system. */
const shards = Array.from({ length: 256 }, (_, shard) => shard.toString(16).padStart(2, '0'));

/** Says all of the blob, so that a restart needs to read no file. */
function nameOf({ digest, isExecutable }: InputFile): string {
  return `${digest.hash}-${digest.function.name}-${digest.sizeBytes}${isExecutable ? '-x' : ''}`;
}

function newEntry(name: string, sizeBytes: number): Entry {
  const stop = new AbortController();
  return {
    name,
    diskBytes: diskBytesOf(sizeBytes),
    holders: 0,
    ready: undefined,
    right: undefined,
    isLinked: false,
    stop,
  };
}
