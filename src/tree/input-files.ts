import type { BlobStore } from '../cas/blob-store.ts';
import type { Digest } from '../digest/digest.ts';

/** A file that input roots have. */
export interface InputFile {
  readonly digest: Digest;
  readonly isExecutable: boolean;
}

/** Files that stay where they are until they are released. */
export interface HeldFiles {
  /** Where a file is: with its mode and time, for reading only. */
  pathOf(file: InputFile): string;
  /** Makes a hard link to it; fails as `link` of the file system does. */
  link(file: InputFile, to: string): Promise<void>;
  /** Blobs that the store does not have either; there are no files of them. */
  readonly missing: readonly Digest[];
  release(): void;
}

/** Blobs as files on this disk. */
export interface InputFiles {
  /** The files, downloaded if need be; their bytes are those of their digests (WRK-05). */
  hold(wanted: readonly InputFile[], blobs: BlobStore, signal: AbortSignal): Promise<HeldFiles>;
}

/** Commands may read inputs, and run some; an output with an input's name is a new file (WRK-04). */
export function inputModeOf(isExecutable: boolean): number {
  return isExecutable ? 0o555 : 0o444;
}
