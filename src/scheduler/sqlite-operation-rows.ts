import type { Database, Statement } from 'better-sqlite3';
import { databaseFailure } from '../sqlite/database-failure.ts';
import {
  operationRow,
  type OperationRow,
  runRow,
  type RunRow,
  storedOperation,
  storedRun,
} from './operation-row-encoding.ts';
import type {
  OperationChanges,
  OperationRows,
  StoredScheduler,
  StoredStart,
} from './operation-rows.ts';

/** The schema of `SqliteOperationRows`, for `openDatabase`. */
export const operationMigrations: readonly string[] = [
  `create table run (
    id text primary key,
    instance_name text not null,
    digest_function text not null,
    hash text not null,
    size_bytes integer not null,
    timeout_ms real not null,
    do_not_cache integer not null,
    asked_priority integer not null,
    platform blob not null,
    request_metadata blob,
    queued_at integer not null,
    position integer not null,
    priority integer not null,
    epoch integer not null,
    losses integer not null,
    failures integer not null,
    refusals integer not null,
    avoided text not null,
    lease_id text,
    worker_id text,
    boot_id text
  ) strict, without rowid;
  create table operation (
    number integer primary key,
    name text not null unique,
    instance_name text not null,
    digest_function text not null,
    hash text not null,
    size_bytes integer not null,
    run_id text,
    done_at integer,
    response blob
  ) strict;`,
  'alter table operation add column deleted integer not null default 0;',
  'create table drained_worker (worker_id text primary key) strict, without rowid;',
  'alter table operation add column request_metadata blob;',
  'alter table run add column memory_above integer not null default 0;',
  'create table terminating_worker (worker_id text primary key, boot_id text not null) strict, without rowid;',
];

/**
 * Operations and runs as rows of SQLite. The database is to be opened with `synchronous: 'FULL'`. What fails in it
 * fails as `databaseFailure` says.
 */
export class SqliteOperationRows implements OperationRows {
  readonly #db: Database;
  readonly #putRun: Statement<[RunRow]>;
  readonly #putOperation: Statement<[OperationRow]>;
  readonly #endRun: Statement<[string]>;
  readonly #forget: Statement<[string]>;
  readonly #undrainAll: Statement<[]>;
  readonly #drain: Statement<[string]>;
  readonly #terminateNone: Statement<[]>;
  readonly #terminate: Statement<[StoredStart]>;

  constructor(db: Database) {
    this.#db = db;
    this.#putRun = db.prepare(
      `insert into run values (@id, @instance_name, @digest_function, @hash, @size_bytes, @timeout_ms,
        @do_not_cache, @asked_priority, @platform, @request_metadata, @queued_at, @position, @priority,
        @epoch, @losses, @failures, @refusals, @avoided, @lease_id, @worker_id, @boot_id,
        @memory_above)
      on conflict (id) do update set priority = excluded.priority, epoch = excluded.epoch,
        losses = excluded.losses, failures = excluded.failures, refusals = excluded.refusals,
        avoided = excluded.avoided, lease_id = excluded.lease_id, worker_id = excluded.worker_id,
        boot_id = excluded.boot_id, memory_above = excluded.memory_above`,
    );
    this.#putOperation = db.prepare(
      `insert into operation (name, instance_name, digest_function, hash, size_bytes, run_id, done_at,
        response, deleted, request_metadata) values (@name, @instance_name, @digest_function, @hash,
        @size_bytes, @run_id, @done_at, @response, @deleted, @request_metadata)
      on conflict (name) do update set run_id = excluded.run_id, done_at = excluded.done_at,
        response = excluded.response, deleted = excluded.deleted`,
    );
    this.#endRun = db.prepare('delete from run where id = ?');
    this.#forget = db.prepare('delete from operation where name = ?');
    this.#undrainAll = db.prepare('delete from drained_worker');
    this.#drain = db.prepare('insert into drained_worker values (?)');
    this.#terminateNone = db.prepare('delete from terminating_worker');
    this.#terminate = db.prepare('insert into terminating_worker values (@workerId, @bootId)');
  }

  load(): StoredScheduler {
    return this.#tried(() => this.#loaded());
  }

  write(changes: OperationChanges): void {
    this.#tried(() => this.#write(changes));
  }

  #loaded(): StoredScheduler {
    const runs = this.#db.prepare<[], RunRow>('select * from run order by position').all();
    const operations = this.#db
      .prepare<[], OperationRow>('select * from operation order by number')
      .all();
    const drainedWorkers = this.#db
      .prepare<[], string>('select worker_id from drained_worker')
      .pluck()
      .all();
    const terminatingWorkers = this.#db
      .prepare<[], StoredStart>(
        'select worker_id as workerId, boot_id as bootId from terminating_worker',
      )
      .all();
    return {
      runs: runs.map(storedRun),
      operations: operations.map(storedOperation),
      drainedWorkers,
      terminatingWorkers,
    };
  }

  #write(changes: OperationChanges): void {
    const { runs, operations, endedRuns, forgottenOperations } = changes;
    const { drainedWorkers, terminatingWorkers } = changes;
    const all = this.#db.transaction(() => {
      for (const run of runs) this.#putRun.run(runRow(run));
      for (const operation of operations) this.#putOperation.run(operationRow(operation));
      for (const id of endedRuns) this.#endRun.run(id);
      for (const name of forgottenOperations) this.#forget.run(name);
      if (drainedWorkers) this.#undrainAll.run();
      for (const id of drainedWorkers ?? []) this.#drain.run(id);
      if (terminatingWorkers) this.#terminateNone.run();
      for (const start of terminatingWorkers ?? []) this.#terminate.run(start);
    });
    all.immediate();
  }

  #tried<T>(work: () => T): T {
    try {
      return work();
    } catch (thrown) {
      throw databaseFailure(this.#db, 'the table of operations', thrown);
    }
  }
}
