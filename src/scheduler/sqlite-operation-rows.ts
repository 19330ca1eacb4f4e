import type { Database, Statement } from 'better-sqlite3';
import { Code, StatusError } from '../base/status.ts';
import { Digest } from '../digest/digest.ts';
import { allDigestFunctions } from '../digest/digest-functions.ts';
import {
  ExecuteResponse,
  Platform,
  RequestMetadata,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type {
  OperationChanges,
  OperationRows,
  StoredOperation,
  StoredRun,
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

interface DigestRow {
  readonly digest_function: string;
  readonly hash: string;
  readonly size_bytes: number;
}

interface RunRow extends DigestRow {
  readonly id: string;
  readonly instance_name: string;
  readonly timeout_ms: number;
  readonly do_not_cache: number;
  readonly asked_priority: number;
  readonly platform: Uint8Array;
  readonly request_metadata: Uint8Array | null;
  readonly queued_at: number;
  readonly position: number;
  readonly priority: number;
  readonly epoch: number;
  readonly losses: number;
  readonly failures: number;
  readonly refusals: number;
  /** A JSON list of worker ids. */
  readonly avoided: string;
  readonly lease_id: string | null;
  readonly worker_id: string | null;
  readonly boot_id: string | null;
  readonly memory_above: number;
}

interface OperationRow extends DigestRow {
  readonly name: string;
  readonly instance_name: string;
  readonly run_id: string | null;
  readonly done_at: number | null;
  readonly response: Uint8Array | null;
  readonly deleted: number;
  readonly request_metadata: Uint8Array | null;
}

/** Operations and runs as rows of SQLite. The database is to be opened with `synchronous: 'FULL'`. */
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

  write(changes: OperationChanges): void {
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
}

function runRow({ request, lease, ...run }: StoredRun): RunRow {
  const { requestMetadata } = request;
  return {
    ...digestRow(request.action),
    id: run.id,
    instance_name: request.instanceName,
    timeout_ms: request.timeoutMs,
    do_not_cache: request.doNotCache ? 1 : 0,
    asked_priority: request.priority,
    platform: Platform.encode({ properties: [...request.properties] }).finish(),
    request_metadata: metadataBytes(requestMetadata),
    queued_at: run.queuedAt,
    position: run.order,
    priority: run.priority,
    epoch: run.epoch,
    losses: run.losses,
    failures: run.failures,
    refusals: run.refusals,
    avoided: JSON.stringify(run.avoided),
    lease_id: lease?.id ?? null,
    worker_id: lease?.workerId ?? null,
    boot_id: lease?.bootId ?? null,
    memory_above: run.memoryAbove,
  };
}

function storedRun(row: RunRow): StoredRun {
  const { lease_id: id, worker_id: workerId, boot_id: bootId } = row;
  return {
    id: row.id,
    request: {
      instanceName: row.instance_name,
      action: digestOf(row),
      timeoutMs: row.timeout_ms,
      doNotCache: row.do_not_cache === 1,
      priority: row.asked_priority,
      properties: Platform.decode(row.platform).properties,
      requestMetadata: metadataOf(row),
    },
    queuedAt: row.queued_at,
    order: row.position,
    priority: row.priority,
    epoch: row.epoch,
    losses: row.losses,
    failures: row.failures,
    refusals: row.refusals,
    avoided: JSON.parse(row.avoided) as string[],
    memoryAbove: row.memory_above,
    lease:
      id !== null && workerId !== null && bootId !== null ? { id, workerId, bootId } : undefined,
  };
}

function operationRow(operation: StoredOperation): OperationRow {
  const { name, instanceName, action, requestMetadata, runId, done, isDeleted } = operation;
  return {
    ...digestRow(action),
    name,
    instance_name: instanceName,
    run_id: runId ?? null,
    done_at: done?.at ?? null,
    response: done ? ExecuteResponse.encode(done.response).finish() : null,
    deleted: isDeleted ? 1 : 0,
    request_metadata: metadataBytes(requestMetadata),
  };
}

function storedOperation(row: OperationRow): StoredOperation {
  const { done_at: at, response } = row;
  return {
    name: row.name,
    instanceName: row.instance_name,
    action: digestOf(row),
    requestMetadata: metadataOf(row),
    runId: row.run_id ?? undefined,
    done: at !== null && response ? { at, response: ExecuteResponse.decode(response) } : undefined,
    isDeleted: row.deleted === 1,
  };
}

function metadataBytes(metadata: RequestMetadata | undefined): Uint8Array | null {
  return metadata ? RequestMetadata.encode(metadata).finish() : null;
}

function metadataOf({
  request_metadata: bytes,
}: RunRow | OperationRow): RequestMetadata | undefined {
  return bytes ? RequestMetadata.decode(bytes) : undefined;
}

function digestRow({ function: { name }, hash, sizeBytes }: Digest): DigestRow {
  return { digest_function: name, hash, size_bytes: sizeBytes };
}

function digestOf({ digest_function: name, hash, size_bytes: sizeBytes }: DigestRow): Digest {
  const digestFunction = allDigestFunctions.find((known) => known.name === name);
  if (!digestFunction) {
    throw new StatusError(Code.DATA_LOSS, `the row of action ${hash} has digest function ${name}`);
  }
  return Digest.of(digestFunction, hash, sizeBytes);
}
