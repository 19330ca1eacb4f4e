import path from 'node:path';
import { Code, StatusError } from '../base/status.ts';
import { openDatabase } from '../sqlite/open-database.ts';

/** A process that is just ending has let go by then. */
const patienceMs = 1000;

/**
 * Keeps other processes from using `folder` until the function it gives is called, or this process
 * ends in whatever way (CC-08): the lock is the operating system's, held by an open transaction. Fails
 * with FAILED_PRECONDITION when another one holds it.
 */
export function lockFolder(folder: string): () => void {
  const file = path.join(folder, 'lock.db');
  try {
    const db = openDatabase(file, [], { synchronous: 'NORMAL', busyTimeoutMs: patienceMs });
    try {
      db.exec('begin immediate');
    } catch (thrown) {
      db.close();
      throw thrown;
    }
    return () => void db.close();
  } catch (thrown) {
    const { code = '' } = ((thrown as Error).cause ?? thrown) as NodeJS.ErrnoException;
    if (!code.startsWith('SQLITE_BUSY')) throw thrown;
    throw new StatusError(
      Code.FAILED_PRECONDITION,
      `the folder ${folder} is in use by another expbuild process: stop that one, or configure ` +
        'another folder',
      { cause: thrown },
    );
  }
}
