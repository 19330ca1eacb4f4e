import { mkdirSync, statSync } from 'node:fs';
import path from 'node:path';

/**
 * Makes a folder, and the missing ones above it. Node's own way of that never ends where a folder
 * exists and refuses new entries with ENOENT, as /proc and automounters do (measured with Node 26.10).
 */
export function makeFolder(folder: string, mode: number): void {
  const missing: string[] = [];
  for (let at = path.resolve(folder); !madeOne(at, mode); at = path.dirname(at)) {
    missing.unshift(at);
  }
  for (const at of missing) {
    if (!madeOne(at, mode)) mkdirSync(at, { mode });
  }
}

/** Makes a folder unless it is there; false when the one above it is not. */
function madeOne(folder: string, mode: number): boolean {
  try {
    mkdirSync(folder, { mode });
    return true;
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if (code === 'ENOENT' && path.dirname(folder) !== folder) return false;
    if (code === 'EEXIST' && statSync(folder).isDirectory()) return true;
    throw thrown;
  }
}
