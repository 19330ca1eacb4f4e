import type { Clock } from '../base/clock.ts';
import { findFlaw } from './find-flaw.ts';
import { condemn, type LocalDisk } from './local-disk.ts';
import { diskBytesOf, type StoredBlob } from './stored-blob.ts';

/** A tenth of what a hard disk reads, and 5 % of a core. */
const bytesPerMsMax = (16 * 2 ** 20) / 1000;

/** After each chunk, also where blobs are tiny: no more than 100 of them a second. */
const pauseMsMin = 10;

/** A longer pause goes in parts: the store may have grown since, or have its first blobs. */
const pauseMsMax = 60_000;

/** From the last blob to the first: no more than a line a second is logged, however short the interval. */
const betweenMs = 1000;

/** The part of the interval that is planned with; the rest is for what pauses leave out. */
const plannedShare = 0.9;

/**
 * Reads the blobs of a disk one after the other, in the order of their names, as slowly as the interval
 * lets it. New blobs that come behind it were verified when they were written.
 */
export class BlobVerifier {
  readonly #disk: LocalDisk;
  readonly #intervalMs: number;
  readonly #clock: Clock;
  /** What was read and has not been waited for yet; below 0 when it is late. */
  #owedBytes = 0;
  /** What the store has held at most since the first blob: the pace must not fall as damaged ones go. */
  #passBytes = 0;
  #sinceNotedMs = 0;

  constructor(disk: LocalDisk, intervalMs: number, clock: Clock) {
    this.#disk = disk;
    this.#intervalMs = intervalMs;
    this.#clock = clock;
  }

  /** Goes on where an earlier one ended, until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { index, log } = this.#disk;
    let last = index.findVerified();
    try {
      for (let read = 0, damaged = 0; ;) {
        signal.throwIfAborted();
        const blob = index.findNext(last);
        if (blob) {
          read += 1;
          if (await this.#isDamaged(blob, signal)) damaged += 1;
          await this.#keepPace(blob, signal);
        } else {
          if (read > 0) log.info('verified all blobs', { read, damaged });
          read = damaged = this.#passBytes = 0;
          // Where it began from the start, there is none.
          await this.#pause(last ? betweenMs : pauseMsMax, signal);
        }
        last = blob;
        if (last && this.#sinceNotedMs >= pauseMsMax) await this.#note(last);
      }
    } finally {
      if (last) await this.#note(last);
    }
  }

  /** Whether the blob was found damaged; it is put away then. */
  async #isDamaged(blob: StoredBlob, signal: AbortSignal): Promise<boolean> {
    try {
      if (!this.#disk.files.isIntact(blob)) {
        condemn(this.#disk, blob, 'its file is gone or has another size');
        return true;
      }
      const flaw = await findFlaw(this.#disk.files, blob, async (bytes) => {
        await this.#pause(Math.max(pauseMsMin, bytes / bytesPerMsMax), signal);
        // It was not kept from eviction: its place is free once the file is closed.
        return this.#disk.index.has(blob);
      });
      if (flaw) condemn(this.#disk, blob, flaw.what, flaw);
      return flaw !== undefined;
    } catch (thrown) {
      signal.throwIfAborted();
      if (!this.#disk.index.has(blob)) return false;
      const { path } = blob;
      this.#disk.log.warn('a blob could not be verified', { path, error: String(thrown) });
      await this.#pause(pauseMsMax, signal);
      return false;
    }
  }

  /** Waits until the next blob is due. */
  async #keepPace({ sizeBytes }: StoredBlob, signal: AbortSignal): Promise<void> {
    const bytes = diskBytesOf(sizeBytes);
    this.#owedBytes += bytes;
    // It may have been the only one, and be gone.
    this.#passBytes = Math.max(this.#passBytes, bytes);
    for (;;) {
      const dueMs = this.#owedBytes / this.#bytesPerMs();
      if (dueMs <= 0) return;
      await this.#pause(Math.min(Math.max(pauseMsMin, dueMs), pauseMsMax), signal);
    }
  }

  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    await this.#clock.sleep(ms, signal);
    this.#owedBytes -= ms * this.#bytesPerMs();
    this.#sinceNotedMs += ms;
  }

  #bytesPerMs(): number {
    this.#passBytes = Math.max(this.#passBytes, this.#disk.index.totals().diskBytes);
    return this.#passBytes / (this.#intervalMs * plannedShare);
  }

  /** A restart then begins at an earlier blob, at worst: a full disk is no reason to verify no more. */
  async #note(last: StoredBlob): Promise<void> {
    const { index, log } = this.#disk;
    this.#sinceNotedMs = 0;
    try {
      await index.noteVerified(last);
    } catch (thrown) {
      log.warn('up to where blobs were verified could not be kept', { error: String(thrown) });
    }
  }
}
