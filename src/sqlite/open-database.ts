import Database from 'better-sqlite3';
import { findBundledAddon } from '../base/native-addon.ts';
import { Code, StatusError } from '../base/status.ts';
import { damagedDatabase, isDamage } from './database-failure.ts';

export interface DatabaseOptions {
  /**
   * FULL: what is committed survives a power cut, at the price of an fsync for each commit. NORMAL: it
   * survives a crash of this process, and a power cut may undo the last commits, never half of one.
   */
  readonly synchronous: 'FULL' | 'NORMAL';
  /** How long to wait, blocking, for another process that has it locked; 5000 by default. */
  readonly busyTimeoutMs?: number;
}

/**
 * Opens the database at `path`, or a new one in memory for `:memory:`, brought up to the newest schema:
 * `migrations[n]` leads from version n to n + 1, and is never changed once released. Fails with
 * FAILED_PRECONDITION when the file was written by a newer version of this program or cannot be opened,
 * and with DATA_LOSS when it is not a healthy database.
 */
export function openDatabase(
  path: string,
  migrations: readonly string[],
  options: DatabaseOptions,
): Database.Database {
  let db: Database.Database | undefined;
  try {
    db = connect(path, options);
    // A write-ahead log lets readers go on while one writes, and appends where a journal writes twice.
    db.pragma('journal_mode = WAL');
    db.pragma(`synchronous = ${options.synchronous}`);
    db.prepare('select count(*) from sqlite_schema').get();
    migrate(db, path, migrations);
    return db;
  } catch (thrown) {
    db?.close();
    throw explained(path, thrown);
  }
}

function connect(path: string, { busyTimeoutMs = 5000 }: DatabaseOptions): Database.Database {
  const addon = findBundledAddon('better_sqlite3.node');
  // The package's types know a path for this option; it takes the addon's exports as well.
  const nativeBinding = addon ? { nativeBinding: addon as unknown as string } : {};
  return new Database(path, { timeout: busyTimeoutMs, ...nativeBinding });
}

function migrate(db: Database.Database, path: string, migrations: readonly string[]): void {
  const run = db.transaction(() => {
    const version = db.pragma('user_version', { simple: true }) as number;
    if (version > migrations.length) {
      throw new StatusError(
        Code.FAILED_PRECONDITION,
        `${path} has schema ${version}, of a newer ExpBuild; this one knows up to ` +
          `${migrations.length}: run the newer version, or move the file away to start afresh`,
      );
    }
    for (const sql of migrations.slice(version)) db.exec(sql);
    if (version < migrations.length) db.pragma(`user_version = ${migrations.length}`);
  });
  run.immediate();
}

function explained(path: string, thrown: unknown): unknown {
  if (thrown instanceof StatusError || !(thrown instanceof Error)) return thrown;
  if (isDamage(thrown)) return damagedDatabase(path, thrown);
  return new StatusError(
    Code.FAILED_PRECONDITION,
    `the database ${path} cannot be opened: ${thrown.message}`,
    { cause: thrown },
  );
}
