import { lstatSync, type Stats } from 'node:fs';

/** What tells whether a file was changed. */
export type FileFacts = Pick<
  Stats,
  'ino' | 'size' | 'mode' | 'uid' | 'gid' | 'mtimeMs' | 'ctimeMs'
>;

/**
 * The facts of what is at a path, no link followed; undefined when nothing is. At once: that takes some
 * microseconds, and asking in the background several times as long.
 */
export function factsOf(place: string): FileFacts | undefined {
  const stats = lstatSync(place, { throwIfNoEntry: false });
  if (!stats) return undefined;
  const { ino, size, mode, uid, gid, mtimeMs, ctimeMs } = stats;
  return { ino, size, mode, uid, gid, mtimeMs, ctimeMs };
}

/** Whether the file at a path is as it was. One that has links elsewhere may have another `ctimeMs`. */
export function isSame(right: FileFacts, place: string, isLinked: boolean): boolean {
  const now = factsOf(place);
  if (!now || (!isLinked && now.ctimeMs !== right.ctimeMs)) return false;
  const { ino, size, mode, uid, gid, mtimeMs } = right;
  return (
    now.ino === ino &&
    now.size === size &&
    now.mode === mode &&
    now.uid === uid &&
    now.gid === gid &&
    now.mtimeMs === mtimeMs
  );
}
