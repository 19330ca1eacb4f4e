import type { Digest } from '../digest/digest.ts';
import type { WrittenFolder } from './written-folder.ts';

/** Who may use a directory, and how its files are there: only the same may use it again. */
export interface FolderUse {
  /** Whom the folders belong to; undefined for the worker's own user. */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
  readonly hardLinks: boolean;
}

/** A directory that is to be renamed to where it is wanted. */
export interface TakenFolder {
  readonly path: string;
  readonly written: WrittenFolder;
}

/** Directories of earlier input roots, just as they were written. */
export interface InputFolders {
  /** One for the caller alone, seen to be unchanged; undefined when there is none. */
  take(digest: Digest, use: FolderUse): Promise<TakenFolder | undefined>;
  /** Takes back what was taken and is still at its `path`. */
  putBack(taken: TakenFolder, use: FolderUse): void;
  /**
   * Waits until whatever changes from now on gets a stamp after `latestMs`, which takes as long as a tick
   * of the file system's clock: none to 10 ms. False when it ticks too slowly to wait for.
   */
  ticked(latestMs: number, signal: AbortSignal): Promise<boolean>;
}
