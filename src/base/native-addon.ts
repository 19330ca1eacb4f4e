import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import path from 'node:path';
import { getAsset, isSea } from 'node:sea';

/**
 * The exports of a native addon. `asset` names it inside the single executable; `specifier` is where
 * npm put it, for runs from the sources.
 *
 * dlopen needs a file, so the executable writes the addon once per content, under its hash, into a
 * folder that only this user can write, by rename: two starts at once do no harm.
 */
export function loadNativeAddon(asset: string, specifier: string): unknown {
  if (!isSea()) return createRequire(import.meta.url)(specifier);
  const bytes = Buffer.from(getAsset(asset));
  const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 32);
  const folder = path.join(cacheFolder(), 'expbuild', 'native');
  const file = path.join(folder, `${hash}-${asset}`);
  if (!existsSync(file)) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const temporary = `${file}.${process.pid}`;
    writeFileSync(temporary, bytes, { mode: 0o500 });
    renameSync(temporary, file);
  }
  const loaded = { exports: {} };
  process.dlopen(loaded, file);
  return loaded.exports;
}

function cacheFolder(): string {
  // oxlint-disable-next-line no-process-env
  return process.env['XDG_CACHE_HOME'] ?? path.join(homedir(), '.cache');
}
