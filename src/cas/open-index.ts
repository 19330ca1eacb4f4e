import { existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import { Code, StatusError } from '../base/status.ts';
import { openDatabase } from '../sqlite/open-database.ts';
import type { Durability } from './blob-files.ts';
import type { BlobIndex } from './blob-index.ts';
import { blobIndexMigrations, SqliteBlobIndex } from './sqlite-blob-index.ts';

/** What belongs to a SQLite database, by what its files' names end in. */
const parts = ['', '-wal', '-shm'];

/**
 * The index of the blobs below `root`. One that is damaged is put aside, in place of the one before it, and
 * an empty one opened, which the sweep fills (CC-07). To read all of an index takes the longer the larger it
 * is: what does not show at once is found when it is read, and a mark tells the next start.
 */
export function openIndex(
  { root, durability }: { readonly root: string; readonly durability: Durability },
  clock: Clock,
  log: Log,
): BlobIndex {
  const file = path.join(root, 'index.db');
  const mark = path.join(root, 'index.db-is-damaged');
  const synchronous = durability === 'full' ? 'FULL' : 'NORMAL';
  const open = () => {
    const db = openDatabase(file, blobIndexMigrations, { synchronous });
    try {
      return new SqliteBlobIndex(db, clock, log, () => noteDamage(mark));
    } catch (thrown) {
      db.close();
      throw thrown;
    }
  };
  try {
    if (!existsSync(mark)) return open();
    throw new StatusError(Code.DATA_LOSS, 'the process before this one found it damaged');
  } catch (thrown) {
    if (StatusError.from(thrown).code !== Code.DATA_LOSS) throw thrown;
    const movedTo = path.join(root, 'damaged-index.db');
    for (const part of parts) {
      rmSync(`${movedTo}${part}`, { force: true });
      if (existsSync(`${file}${part}`)) renameSync(`${file}${part}`, `${movedTo}${part}`);
    }
    rmSync(mark, { force: true });
    log.error('the index of blobs is damaged, and made anew from their files', {
      error: String(thrown),
      movedTo,
    });
    return open();
  }
}

function noteDamage(mark: string): void {
  try {
    writeFileSync(mark, '');
  } catch {
    // The disk is full or cannot be written: what is damaged is found again.
  }
}
