import { statfs } from 'node:fs/promises';
import type { Clock } from '../base/clock.ts';

/** Programs write in larger pieces, and what does not fit of one is lost if they do not look. */
const freeBytesMin = 1024 * 1024;
const freeFilesMin = 16;
/** A look takes some microseconds; a disk that fills up stays full for longer. */
const lookEveryMs = 250;

/**
 * Watches whether the disk of `folder` is full while a command runs: one that does not look at its errors
 * would end well with half of its outputs, and another action may have filled the disk (DF-08).
 */
export class DiskWatch {
  readonly #folder: string;
  readonly #over = new AbortController();
  #wasFull = false;

  constructor(folder: string, clock: Clock) {
    this.#folder = folder;
    void this.#watch(clock);
  }

  /** Looks once more, and says whether the disk was full at any time. */
  async end(): Promise<boolean> {
    this.#over.abort();
    await this.#look().catch(() => {});
    return this.#wasFull;
  }

  async #watch(clock: Clock): Promise<void> {
    try {
      while (!this.#wasFull) {
        await clock.sleep(lookEveryMs, this.#over.signal);
        await this.#look();
      }
    } catch {
      // The command is over; or the disk cannot be asked, and counts as one with room.
    }
  }

  async #look(): Promise<void> {
    const { bavail, bsize, files, ffree } = await statfs(this.#folder);
    const isOutOfBytes = bavail * bsize < freeBytesMin;
    // File systems without a fixed number of files tell none.
    const isOutOfFiles = files > 0 && ffree < freeFilesMin;
    this.#wasFull ||= isOutOfBytes || isOutOfFiles;
  }
}
