import type { Database } from 'better-sqlite3';
import { Code, StatusError } from '../base/status.ts';

/** Whether the file of a database is damaged, or none at all; no retry and no restart mends that. */
export function isDamage(thrown: Error): boolean {
  const { code = '' } = thrown as NodeJS.ErrnoException;
  return code === 'SQLITE_NOTADB' || code.startsWith('SQLITE_CORRUPT');
}

/** The error for a database at `path` that is damaged: DATA_LOSS, and what a person can do. */
export function damagedDatabase(path: string, thrown: Error): StatusError {
  return new StatusError(
    Code.DATA_LOSS,
    `${path} is damaged (${thrown.message}): while the server is stopped, restore it from a backup, or move ` +
      'it away, with the files named like it that end in -wal and -shm, to start afresh',
    { cause: thrown },
  );
}

/**
 * Why a database failed, for who asked: DATA_LOSS when it is damaged, else RESOURCE_EXHAUSTED when its disk
 * is full and UNAVAILABLE for what may pass, so that clients try again. `what` names it. A StatusError is
 * left as it is.
 */
export function databaseFailure(db: Database, what: string, thrown: unknown): unknown {
  if (!(thrown instanceof Error) || thrown instanceof StatusError) return thrown;
  if (isDamage(thrown)) return damagedDatabase(db.name, thrown);
  const isFull = (thrown as NodeJS.ErrnoException).code === 'SQLITE_FULL';
  const code = isFull ? Code.RESOURCE_EXHAUSTED : Code.UNAVAILABLE;
  return new StatusError(code, `${what} failed: ${thrown.message}`, { cause: thrown });
}
