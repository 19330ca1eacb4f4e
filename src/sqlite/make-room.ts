import type { Statement } from 'better-sqlite3';

/** Of a table whose rows have an id and a size, and whose total triggers keep. */
export interface SizedRows {
  /** What all rows take. */
  readonly total: Statement<[], number>;
  /** So many rows, those used longest ago first. */
  readonly oldest: Statement<[count: number], { id: number; size_bytes: number }>;
  readonly remove: Statement<[id: number]>;
}

/** Rows looked at together: few queries, and not many more rows than go. */
const batchRows = 100;

/** Removes the rows used longest ago until all take no more than `sizeBytesMax`. Call it in a transaction. */
export function makeRoom({ total, oldest, remove }: SizedRows, sizeBytesMax: number): void {
  let excessBytes = Number(total.get()) - sizeBytesMax;
  while (excessBytes > 0) {
    const rows = oldest.all(batchRows);
    if (rows.length === 0) return;
    for (const { id, size_bytes: sizeBytes } of rows) {
      if (excessBytes <= 0) return;
      remove.run(id);
      excessBytes -= sizeBytes;
    }
  }
}
