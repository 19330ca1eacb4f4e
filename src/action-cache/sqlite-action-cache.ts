import type { Database } from 'better-sqlite3';
import type { Clock } from '../base/clock.ts';
import { Code, StatusError } from '../base/status.ts';
import type { Digest } from '../digest/digest.ts';
import type { ActionResult } from '../proto/whole/build/bazel/remote/execution/v2/remote_execution.ts';
import { databaseFailure } from '../sqlite/database-failure.ts';
import { GroupCommit } from '../sqlite/group-commit.ts';
import { makeRoom } from '../sqlite/make-room.ts';
import { openDatabase } from '../sqlite/open-database.ts';
import type { ActionCache, ActionCacheStorage } from './action-cache.ts';
import { decodeResult, ENTRY_OVERHEAD_BYTES, encodeResult } from './encode-result.ts';
import { actionCacheMigrations } from './schema.ts';

/** A use is written down when the last one known is older: eviction needs no finer clock than this. */
const TOUCH_AFTER_MS = 60_000;
/** Uses are written with the next update, or once this many wait; a crash forgets them, which does no harm. */
const TOUCHES_WAITING_MAX = 1000;

type Key = [namespace: string, digestFunction: string, hash: Buffer, sizeBytes: number];
interface Row {
  readonly id: number;
  readonly result: Uint8Array;
  readonly used_at: number;
}

/**
 * Action caches in one SQLite file. Entries survive a crash of this process once `update` resolves; a
 * power cut may take the last few, which costs no more than running their actions again. When all take
 * more than `maxSizeBytes`, those used longest ago go (AC-24).
 */
export class SqliteActionCache implements ActionCacheStorage {
  readonly #db: Database;
  readonly #group: GroupCommit;
  readonly #clock: Clock;
  readonly #maxSizeBytes: number;
  readonly #statements: ReturnType<typeof prepare>;
  #touches = new Map<number, number>();

  constructor(path: string, options: { readonly maxSizeBytes: number }, clock: Clock) {
    this.#db = openDatabase(path, actionCacheMigrations, { synchronous: 'NORMAL' });
    this.#group = new GroupCommit(this.#db);
    this.#clock = clock;
    this.#maxSizeBytes = options.maxSizeBytes;
    this.#statements = prepare(this.#db);
  }

  namespace(instanceName: string): ActionCache {
    const keyOf = ({ function: { name }, hash, sizeBytes }: Digest): Key => [
      instanceName,
      name,
      Buffer.from(hash, 'hex'),
      sizeBytes,
    ];
    return {
      find: (action) => this.#find(keyOf(action)),
      update: async (action, result) => {
        await this.#update(keyOf(action), encodeResult(action, result));
      },
    };
  }

  /** Writes what waits and closes the file; nothing may be asked of it after. */
  async close(): Promise<void> {
    try {
      await this.#run(() => this.#writeTouches());
    } finally {
      this.#db.close();
    }
  }

  async #find(key: Key): Promise<ActionResult | undefined> {
    try {
      const row = this.#statements.find.get(...key);
      if (!row) return undefined;
      const result = decode(row.result);
      if (!result) {
        await this.#run(() => this.#statements.remove.run(row.id));
        return undefined;
      }
      await this.#touch(row);
      return result;
    } catch (error) {
      throw this.#failure(error);
    }
  }

  async #update(key: Key, result: Uint8Array): Promise<void> {
    const sizeBytes = result.length + ENTRY_OVERHEAD_BYTES;
    const write = () => {
      this.#statements.put.run(...key, result, sizeBytes, this.#clock.now());
      this.#writeTouches();
      makeRoom(this.#statements, this.#maxSizeBytes);
    };
    await this.#run(write);
  }

  async #touch({ id, used_at: usedAt }: Row): Promise<void> {
    const now = this.#clock.now();
    if (now - usedAt < TOUCH_AFTER_MS) return;
    this.#touches.set(id, now);
    if (this.#touches.size >= TOUCHES_WAITING_MAX) {
      await this.#run(() => this.#writeTouches());
    }
  }

  async #run(write: () => void): Promise<void> {
    try {
      await this.#group.run(write);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  /** A disk that is full or fails for now is not a miss: clients try again (AC-15, AC-26). */
  #failure(thrown: unknown): unknown {
    return databaseFailure(this.#db, 'the action cache', thrown);
  }

  #writeTouches(): void {
    for (const [id, usedAt] of this.#touches) this.#statements.touch.run(usedAt, id);
    this.#touches = new Map();
  }
}

function prepare(db: Database) {
  return {
    find: db.prepare<Key, Row>(
      'select id, result, used_at from entry ' +
        'where namespace = ? and digest_function = ? and hash = ? and action_size_bytes = ?',
    ),
    put: db.prepare<[...Key, Uint8Array, number, number]>(
      'insert into entry ' +
        '(namespace, digest_function, hash, action_size_bytes, result, size_bytes, used_at) ' +
        'values (?, ?, ?, ?, ?, ?, ?) on conflict do update set ' +
        'result = excluded.result, size_bytes = excluded.size_bytes, used_at = excluded.used_at',
    ),
    touch: db.prepare<[number, number]>('update entry set used_at = ? where id = ?'),
    remove: db.prepare<[number]>('delete from entry where id = ?'),
    oldest: db.prepare<[number], { id: number; size_bytes: number }>(
      'select id, size_bytes from entry order by used_at, id limit ?',
    ),
    total: db.prepare<[], number>('select size_bytes from total').pluck(),
  };
}

/** A row that is damaged is as good as none. */
function decode(bytes: Uint8Array): ActionResult | undefined {
  try {
    return decodeResult(bytes);
  } catch (error) {
    if (StatusError.from(error).code === Code.UNAVAILABLE) throw error;
    return undefined;
  }
}
