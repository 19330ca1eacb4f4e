import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { getAsset, isSea } from 'node:sea';
import { findHomeFolder } from './home-folder.ts';
import { makeFolder } from './make-folder.ts';

/**
 * The exports of a native addon. `asset` names it inside the single executable; `specifier` is the
 * package that loads it, for runs from the sources.
 */
export function loadNativeAddon(asset: string, specifier: string): unknown {
  return findBundledAddon(asset) ?? createRequire(import.meta.url)(specifier);
}

/** The exports of a native addon inside the single executable; undefined in runs from the sources. */
export function findBundledAddon(asset: string): object | undefined {
  return isSea()
    ? dlopenBytes(
        asset,
        Buffer.from(getAsset(asset)),
        path.join(cacheFolder(), 'expbuild', 'native'),
      )
    : undefined;
}

/**
 * Loads an addon from its bytes. dlopen needs a file, so they are kept in `folder`, which only this user
 * can write, under their hash; where no such folder can be, as with a read-only home, in a temporary
 * one that is gone once the addon is loaded.
 */
export function dlopenBytes(name: string, bytes: Uint8Array, folder: string): object {
  const kept = keep(name, bytes, folder);
  if (kept !== undefined) return dlopen(kept);
  const temporary = mkdtempSync(path.join(tmpdir(), 'expbuild-native-'));
  try {
    const file = path.join(temporary, name);
    writeFileSync(file, bytes, { mode: 0o500 });
    return dlopen(file);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

/** The file with the bytes, or undefined when it cannot be written. */
function keep(name: string, bytes: Uint8Array, folder: string): string | undefined {
  const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 32);
  const file = path.join(folder, `${hash}-${name}`);
  try {
    if (!holds(file, bytes)) {
      makeFolder(folder, 0o700);
      // By rename, so that a start at the same moment sees all of it or nothing.
      const temporary = `${file}.${process.pid}`;
      try {
        writeFileSync(temporary, bytes, { mode: 0o500 });
        renameSync(temporary, file);
      } finally {
        rmSync(temporary, { force: true });
      }
    }
    return file;
  } catch {
    return undefined;
  }
}

/** Compared in full: a crash or a full disk may have left less than the whole. */
function holds(file: string, bytes: Uint8Array): boolean {
  try {
    return readFileSync(file).equals(bytes);
  } catch {
    return false;
  }
}

function dlopen(file: string): object {
  const loaded = { exports: {} };
  process.dlopen(loaded, file);
  return loaded.exports;
}

function cacheFolder(): string {
  // The XDG rule for caches; no setting of ours.
  return process.env['XDG_CACHE_HOME'] || path.join(findHomeFolder(), '.cache');
}
