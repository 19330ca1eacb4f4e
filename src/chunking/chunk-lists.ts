import type { Database, Statement } from 'better-sqlite3';
import { Digest } from '../digest/digest.ts';
import { databaseFailure } from '../sqlite/database-failure.ts';

/** The schema of `ChunkLists`, for `openDatabase`. */
export const chunkListMigrations: readonly string[] = [
  `create table list (
    number integer primary key,
    namespace text not null,
    blob text not null,
    chunks text not null,
    size_bytes integer not null,
    unique (namespace, blob)
  ) strict;`,
];

/** What all lists may take: those of some TiB of blobs. The oldest go first. */
const listBytesMax = 256 * 2 ** 20;

interface Row {
  readonly number: number;
  readonly namespace: string;
  readonly blob: string;
  readonly chunks: string;
  readonly size_bytes: number;
}

/**
 * Of which chunks blobs are made. Open the database with `synchronous: 'FULL'`. What fails does so as
 * `databaseFailure` says it.
 */
export class ChunkLists {
  readonly #db: Database;
  readonly #bytesMax: number;
  readonly #find: Statement<[string, string], Pick<Row, 'chunks'>>;
  readonly #put: Statement<[Omit<Row, 'number'>]>;
  readonly #remove: Statement<[string, string], Pick<Row, 'size_bytes'>>;
  readonly #removeOldest: Statement<[], Pick<Row, 'size_bytes'>>;
  #bytes: number;

  constructor(db: Database, bytesMax: number = listBytesMax) {
    this.#db = db;
    this.#bytesMax = bytesMax;
    this.#find = db.prepare('select chunks from list where namespace = ? and blob = ?');
    this.#put = db.prepare(
      'insert into list (namespace, blob, chunks, size_bytes) values (@namespace, @blob, @chunks, @size_bytes)',
    );
    this.#remove = db.prepare(
      'delete from list where namespace = ? and blob = ? returning size_bytes',
    );
    this.#removeOldest = db.prepare(
      'delete from list where number = (select min(number) from list) returning size_bytes',
    );
    const { bytes } = db
      .prepare<[], { bytes: number | null }>('select sum(size_bytes) as bytes from list')
      .get() ?? { bytes: 0 };
    this.#bytes = bytes ?? 0;
  }

  /** The blob's chunks in order; undefined when they are not known. */
  find(namespace: string, blob: Digest): readonly Digest[] | undefined {
    // Most stores never have one.
    if (this.#bytes === 0) return undefined;
    const row = this.#guarded(() => this.#find.get(namespace, blob.key));
    return row?.chunks.split(' ').map((text) => {
      const [hash = '', sizeBytes] = text.split('/');
      return Digest.of(blob.function, hash, Number(sizeBytes));
    });
  }

  /** When it returns, a power cut no longer undoes it. The chunks are of the blob's digest function. */
  put(namespace: string, blob: Digest, chunks: readonly Digest[]): void {
    const text = chunks.map(({ hash, sizeBytes }) => `${hash}/${sizeBytes}`).join(' ');
    this.#guarded(() => this.#replace(namespace, blob.key, text));
  }

  #replace(namespace: string, blob: string, chunks: string): void {
    this.#bytes -= this.#remove.get(namespace, blob)?.size_bytes ?? 0;
    this.#put.run({ namespace, blob, chunks, size_bytes: chunks.length });
    this.#bytes += chunks.length;
    while (this.#bytes > this.#bytesMax) {
      const oldest = this.#removeOldest.get();
      if (!oldest) return;
      this.#bytes -= oldest.size_bytes;
    }
  }

  #guarded<T>(work: () => T): T {
    try {
      return work();
    } catch (thrown) {
      throw databaseFailure(this.#db, 'the table of spliced blobs', thrown);
    }
  }
}
