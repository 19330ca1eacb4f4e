import type { Log } from '../base/log.ts';
import type { BlobFiles } from './blob-files.ts';
import type { BlobIndex } from './blob-index.ts';
import type { ConcurrentUploads } from './concurrent-uploads.ts';
import type { DiskSpace } from './disk-space.ts';
import type { PieceSizes } from './piece-sizes.ts';
import type { Pins } from './pins.ts';
import type { StoredBlob } from './stored-blob.ts';

/** What the blob stores of all instances on one disk share. */
export interface LocalDisk {
  readonly index: BlobIndex;
  readonly files: BlobFiles;
  readonly space: DiskSpace;
  readonly pins: Pins;
  readonly pieces: PieceSizes;
  readonly uploads: ConcurrentUploads;
  readonly log: Log;
  /** Called for each blob found damaged; gives their number since the start. */
  readonly countDamaged: () => number;
}

/**
 * Puts a damaged blob away: it is missing from now on (CI-05). It stays when `read`, the file whose flaw
 * it is, is no longer the blob's: somebody else has put that away then, and a new upload may stand in its
 * place. Synchronous, so that no upload of the same blob can come in between. The row goes first: when the
 * process ends before the file is moved, or it cannot be, the next sweep reads it and deletes it.
 */
export function condemn(
  { index, files, log, countDamaged }: LocalDisk,
  blob: StoredBlob,
  flaw: string,
  read?: { readonly ino: number },
): void {
  if (read && files.inodeOf(blob) !== read.ino) return;
  index.remove([blob]);
  log.error('a stored blob is damaged and counts as missing now', {
    digest: `${blob.functionName}/${blob.hash}/${blob.sizeBytes}`,
    path: files.pathOf(blob),
    flaw,
    ...movedAway(files, blob),
    damagedBlobs: countDamaged(),
  });
}

/** A disk that damages blobs may refuse to move them as well. */
function movedAway(
  files: BlobFiles,
  blob: StoredBlob,
): { readonly movedTo: string | undefined; readonly moveError?: string } {
  try {
    return { movedTo: files.quarantine(blob) };
  } catch (thrown) {
    return { movedTo: undefined, moveError: String(thrown) };
  }
}
