import type { Clock } from '../base/clock.ts';
import { findDigestFunction, findFlaw } from './find-flaw.ts';
import type { LocalDisk } from './local-disk.ts';
import type { StoredBlob } from './stored-blob.ts';

/** A fifth of what a hard disk reads: the sooner blobs are back, the fewer are made again. */
const bytesPerMsMax = (32 * 2 ** 20) / 1000;

/** What the opening of a file costs, in bytes. */
const fileBytes = 64 * 1024;

/**
 * Gives a blob its row back when its file has none: a crash came between the two, or the index was lost
 * (CC-04, CI-21). Its bytes must be those of its name, and there must be room; it is the first to go for
 * others. False when it has no row from this.
 */
export async function adoptBlob(
  disk: LocalDisk,
  blob: StoredBlob,
  clock: Clock,
  signal: AbortSignal,
): Promise<boolean> {
  const { files, index, pins, space } = disk;
  if (!space.hasRoomFor(blob) || !findDigestFunction(blob) || !files.isIntact(blob)) return false;
  // An upload that fails meanwhile leaves the file alone.
  const unpin = pins.pin(blob.path, 0);
  try {
    const flaw = await findFlaw(files, blob, async (bytes) => {
      await clock.sleep(Math.max(bytes, fileBytes) / bytesPerMsMax, signal);
      return true;
    });
    // What an upload brings meanwhile is newer than this.
    const isTheirs = pins.count(blob.path) > 1 || index.has(blob);
    if (flaw !== undefined || isTheirs || !space.hasRoomFor(blob)) return false;
    await index.adopt(blob);
    return true;
  } finally {
    unpin();
  }
}
