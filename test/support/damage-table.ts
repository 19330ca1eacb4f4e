import Database from 'better-sqlite3';
import { closeSync, openSync, writeSync } from 'node:fs';

/** Overwrites the first page of a table, or an index, in a SQLite file that nobody has open. */
export function damageTable(file: string, name: string): void {
  const db = new Database(file);
  const page = db.prepare<[string], number>('select rootpage from sqlite_schema where name = ?');
  const number = page.pluck().get(name) ?? 0;
  const pageBytes = Number(db.pragma('page_size', { simple: true }));
  db.pragma('wal_checkpoint(truncate)');
  db.close();
  const fd = openSync(file, 'r+');
  writeSync(fd, Buffer.alloc(pageBytes, 0xee), 0, pageBytes, (number - 1) * pageBytes);
  closeSync(fd);
}
