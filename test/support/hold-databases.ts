import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import Database from 'better-sqlite3';

// What a backup and a curious operator do to the databases of a server, until it is killed: reads each
// of the files given in one transaction that does not end, and has a write transaction open on each every
// now and then. Says `reading` once all are read, and `wrote` after each round.
const [copies = '', ...files] = process.argv.slice(2);
const holdMs = 300;

for (const file of files) {
  const db = new Database(file);
  db.exec('begin');
  db.prepare('select count(*) from sqlite_schema').get();
}
process.stdout.write('reading\n');
const writers = files.map((file) => new Database(file, { timeout: 60_000 }));
for (let round = 1; ; round += 1) {
  for (const [n, db] of writers.entries()) {
    db.exec('begin immediate');
    await wait(holdMs);
    db.exec('commit');
    await db.backup(path.join(copies, `${n}`));
  }
  process.stdout.write(`wrote ${round}\n`);
}
