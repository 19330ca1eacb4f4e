import type { Database, Statement } from 'better-sqlite3';
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import { Code, StatusError } from '../base/status.ts';
import { isDamage } from '../sqlite/database-failure.ts';
import { GroupCommit } from '../sqlite/group-commit.ts';
import type { BlobIndex, BlobIndexTotals } from './blob-index.ts';
import { located, type StoredBlob } from './stored-blob.ts';

/**
 * `used` is a counter, not a time: clocks jump, and an order is all that eviction needs. The totals are
 * kept by triggers, so that no start has to count a million rows.
 */
export const blobIndexMigrations: readonly string[] = [
  `create table blob (
     namespace text not null,
     function text not null,
     hash blob not null,
     size_bytes integer not null,
     used integer not null,
     primary key (namespace, function, hash, size_bytes)
   ) strict, without rowid;
   create index blob_by_use on blob (used);
   create table total (blobs integer not null, disk_bytes integer not null) strict;
   insert into total values (0, 0);
   create trigger blob_inserted after insert on blob begin
     update total set blobs = blobs + 1,
       disk_bytes = disk_bytes + (new.size_bytes + 4095) / 4096 * 4096;
   end;
   create trigger blob_deleted after delete on blob begin
     update total set blobs = blobs - 1,
       disk_bytes = disk_bytes - (old.size_bytes + 4095) / 4096 * 4096;
   end;`,
  `create table verified (
     number integer primary key check (number = 1),
     namespace text not null,
     function text not null,
     hash blob not null,
     size_bytes integer not null
   ) strict;`,
];

/** How long a use may be known in memory only; a crash forgets it, which costs order, not blobs. */
const touchDelayMs = 1000;

/** Uses noted beyond this many, 20 MB, are not: they come in faster than the disk takes them. */
const touchesMax = 100_000;

/**
 * Rows known in memory, 15 MB of them: a look there takes a tenth of the 4 µs that one into the database
 * takes, and a build asks for the same blobs many times.
 */
const knownMax = 50_000;

/** Rows handled at a time: 256 hold the event loop for about 5 ms. */
const pageRows = 256;

type Key = [namespace: string, functionName: string, hash: Buffer, sizeBytes: number];

/** No namespace is empty. */
const beforeAll: Key = ['', '', Buffer.of(), 0];

interface Row {
  readonly namespace: string;
  readonly function: string;
  readonly hash: Buffer;
  readonly size_bytes: number;
}

interface Touch {
  readonly blob: StoredBlob;
  readonly used: number;
}

/**
 * The index of a disk's blobs in one SQLite database, opened with blobIndexMigrations. Once that turns out to
 * be damaged, it calls `onDamage` and fails with DATA_LOSS.
 */
export class SqliteBlobIndex implements BlobIndex {
  readonly #db: Database;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #onDamage: () => void;
  readonly #group: GroupCommit;
  readonly #closing = new AbortController();
  readonly #find: Statement<Key, number>;
  readonly #insert: Statement<[...Key, number]>;
  readonly #touch: Statement<[number, ...Key]>;
  readonly #delete: Statement<Key>;
  readonly #page: Statement<[number, number], Row & { readonly used: number }>;
  readonly #firstUse: Statement<[], number | null>;
  readonly #next: Statement<Key, Row>;
  readonly #verified: Statement<[], Row>;
  readonly #noteVerified: Statement<Key>;
  readonly #totals: Statement<[], { blobs: number; diskBytes: number }>;
  /** The last use of all. */
  #used: number;
  #blobs: number;
  /** The last use of rows in the database, by path; not of all rows. */
  readonly #known = new Map<string, number>();
  /** Uses that are not in the database yet, by path. */
  #touches = new Map<string, Touch>();
  #flushing: Promise<void> | undefined;

  constructor(db: Database, clock: Clock, log: Log, onDamage: () => void) {
    this.#db = db;
    this.#clock = clock;
    this.#log = log;
    this.#onDamage = onDamage;
    this.#group = new GroupCommit(db);
    const where = 'where namespace = ? and function = ? and hash = ? and size_bytes = ?';
    this.#find = db.prepare<Key, number>(`select used from blob ${where}`).pluck();
    this.#insert = db.prepare('insert into blob values (?, ?, ?, ?, ?) on conflict do nothing');
    this.#touch = db.prepare(`update blob set used = ? ${where}`);
    this.#delete = db.prepare(`delete from blob ${where}`);
    this.#page = db.prepare('select * from blob where used > ? order by used limit ?');
    this.#firstUse = db.prepare<[], number | null>('select min(used) from blob').pluck();
    const columns = 'namespace, function, hash, size_bytes';
    this.#next = db.prepare(
      `select * from blob where (${columns}) > (?, ?, ?, ?) order by ${columns} limit 1`,
    );
    this.#verified = db.prepare('select * from verified');
    this.#noteVerified = db.prepare('insert or replace into verified values (1, ?, ?, ?, ?)');
    this.#totals = db.prepare('select blobs, disk_bytes as diskBytes from total');
    const lastUse = db.prepare<[], number>('select coalesce(max(used), 0) from blob').pluck();
    this.#used = this.#told(() => lastUse.get() ?? 0);
    this.#blobs = this.totals().blobs;
  }

  has(blob: StoredBlob): boolean {
    return this.#findUse(blob) !== undefined;
  }

  use(blob: StoredBlob): boolean {
    const used = this.#known.get(blob.path) ?? this.#findUse(blob);
    if (used === undefined) return false;
    this.#know(blob, used);
    // One among the newest eighth is safe as it is: a build that asks for the same blobs again and
    // again then writes nothing.
    if (this.#used - used >= this.#blobs / 8) this.#noteUse(blob);
    return true;
  }

  insert(blob: StoredBlob): Promise<void> {
    return this.#insertAs(blob, () => ++this.#used);
  }

  adopt(blob: StoredBlob): Promise<void> {
    return this.#insertAs(blob, () => (this.#firstUse.get() ?? 0) - 1);
  }

  async #insertAs(blob: StoredBlob, used: () => number): Promise<void> {
    try {
      await this.#group.run(() => this.#insert.run(...keyOf(blob), used()));
    } catch (thrown) {
      throw StatusError.during(`adding blob ${blob.path} to the index`, this.#explained(thrown));
    }
    this.#blobs = this.totals().blobs;
  }

  remove(blobs: readonly StoredBlob[]): void {
    const deleteAll = this.#db.transaction(() => {
      for (const blob of blobs) this.#delete.run(...keyOf(blob));
    });
    this.#told(() => deleteAll());
    for (const { path } of blobs) {
      this.#touches.delete(path);
      this.#known.delete(path);
    }
    this.#blobs = this.totals().blobs;
  }

  *leastRecentlyUsed(): Iterable<StoredBlob> {
    let after = Number.MIN_SAFE_INTEGER;
    for (;;) {
      const rows = this.#told(() => this.#page.all(after, pageRows));
      if (rows.length === 0) return;
      after = rows.at(-1)?.used ?? after;
      const blobs = rows.map(blobOf);
      const touched = blobs.filter(({ path }) => this.#touches.has(path));
      // Their rows move on to where they belong, and come up again there.
      if (touched.length > 0) this.#storeTouches(touched.map(({ path }) => this.#takeTouch(path)));
      yield* blobs.filter((blob) => !touched.includes(blob));
    }
  }

  findNext(after: StoredBlob | undefined): StoredBlob | undefined {
    const row = this.#told(() => this.#next.get(...(after ? keyOf(after) : beforeAll)));
    return row && blobOf(row);
  }

  findVerified(): StoredBlob | undefined {
    const row = this.#told(() => this.#verified.get());
    return row && blobOf(row);
  }

  async noteVerified(blob: StoredBlob): Promise<void> {
    await this.#group.run(() => this.#noteVerified.run(...keyOf(blob)));
  }

  totals(): BlobIndexTotals {
    return this.#told(() => this.#totals.get()) ?? { blobs: 0, diskBytes: 0 };
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#flushing;
    if (!this.#db.open) return;
    try {
      this.#storeTouches([...this.#touches.values()]);
    } catch (thrown) {
      this.#warnOfOrder(thrown);
    }
    this.#touches.clear();
    this.#db.close();
  }

  #warnOfOrder(thrown: unknown): void {
    const error = String(thrown);
    this.#log.warn('the order in which blobs were used could not be kept', { error });
  }

  #noteUse(blob: StoredBlob): void {
    if (this.#touches.size >= touchesMax && !this.#touches.has(blob.path)) return;
    this.#touches.set(blob.path, { blob, used: ++this.#used });
    this.#know(blob, this.#used);
    this.#flushing ??= this.#flushLater().finally(() => {
      this.#flushing = undefined;
    });
  }

  #know({ path }: StoredBlob, used: number): void {
    if (this.#known.size >= knownMax && !this.#known.has(path)) {
      const [oldest = path] = this.#known.keys();
      this.#known.delete(oldest);
    }
    this.#known.set(path, used);
  }

  async #flushLater(): Promise<void> {
    try {
      await this.#clock.sleep(touchDelayMs, this.#closing.signal);
      while (this.#touches.size > 0) {
        const paths = [...this.#touches.keys().take(pageRows)];
        const touches = paths.map((path) => this.#takeTouch(path));
        await this.#group.run(() => this.#storeTouches(touches));
      }
    } catch (thrown) {
      if (!this.#closing.signal.aborted) this.#warnOfOrder(thrown);
    }
  }

  #takeTouch(path: string): Touch {
    const touch = this.#touches.get(path) as Touch;
    this.#touches.delete(path);
    return touch;
  }

  #storeTouches(touches: readonly Touch[]): void {
    const storeAll = this.#db.transaction(() => {
      for (const { blob, used } of touches) this.#touch.run(used, ...keyOf(blob));
    });
    this.#told(() => storeAll());
  }

  #findUse(blob: StoredBlob): number | undefined {
    return this.#told(() => this.#find.get(...keyOf(blob)));
  }

  #told<T>(work: () => T): T {
    try {
      return work();
    } catch (thrown) {
      throw this.#explained(thrown);
    }
  }

  /** What the operator has to do, which SQLite does not say. */
  #explained(thrown: unknown): unknown {
    if (!(thrown instanceof Error) || !isDamage(thrown)) return thrown;
    this.#onDamage();
    return new StatusError(
      Code.DATA_LOSS,
      `the index of blobs, ${this.#db.name}, is damaged (${thrown.message}): restart the server, which then ` +
        'makes it anew from the files of blobs',
      { cause: thrown },
    );
  }
}

function blobOf(row: Row): StoredBlob {
  return located(row.namespace, row.function, row.hash.toString('hex'), row.size_bytes);
}

function keyOf(blob: StoredBlob): Key {
  return [blob.namespace, blob.functionName, Buffer.from(blob.hash, 'hex'), blob.sizeBytes];
}
