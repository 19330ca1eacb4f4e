import type { Database } from 'better-sqlite3';
import { createHash } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import { Digest } from '../digest/digest.ts';
import { PushDirectoryRequest } from '../proto/build/bazel/remote/asset/v1/remote_asset.ts';
import { databaseFailure } from '../sqlite/database-failure.ts';
import { GroupCommit } from '../sqlite/group-commit.ts';
import { makeRoom } from '../sqlite/make-room.ts';
import { openDatabase } from '../sqlite/open-database.ts';
import { assetMigrations } from './schema.ts';

/** Blobs and directories are found apart from each other (AST-33). */
export type AssetKind = 'blob' | 'directory';

/** Under what an asset is looked for, beside its qualifiers. */
export interface AssetKey {
  readonly instanceName: string;
  readonly kind: AssetKind;
  readonly uri: string;
  readonly digestFunction: DigestFunction;
}

/** What is known of an asset. */
export interface Asset {
  readonly origin: 'pushed' | 'fetched';
  /** By name, in one order. */
  readonly qualifiers: ReadonlyMap<string, string>;
  /** Fingerprint of the headers it was fetched with; empty for none. */
  readonly credentials: string;
  readonly digest: Digest;
  readonly referencesBlobs: readonly Digest[];
  readonly referencesDirectories: readonly Digest[];
  /** When it was pushed, or its retrieval began (AST-12). */
  readonly storedAt: number;
  readonly expiresAt: number | undefined;
}

/** An asset without what it refers to, which may be long. */
export type Candidate = Omit<Asset, 'digest' | 'referencesBlobs' | 'referencesDirectories'> & {
  readonly id: number;
};

/** Of one URI only so many are kept, the newest: a search looks at each of them. */
const VARIANTS_MAX = 1000;
/** Uses are written down when the last one known is older: eviction needs no finer clock than this. */
const TOUCH_AFTER_MS = 60_000;
/** A row, its share of three indexes, and the columns of fixed size. */
const ROW_OVERHEAD_BYTES = 500;

type KeyColumns = [namespace: string, kind: AssetKind, uriHash: Buffer, digestFunction: string];
interface CandidateRow {
  readonly id: number;
  readonly origin: Asset['origin'];
  readonly qualifiers: string;
  readonly credentials: string;
  readonly stored_at: number;
  readonly expires_at: number | null;
  readonly used_at: number;
}

/**
 * The assets of all instances in one SQLite file. When they take more than `maxSizeBytes`, those used
 * longest ago go. A power cut may take the last few, which are fetched or pushed again.
 */
export class AssetTable {
  readonly #db: Database;
  readonly #group: GroupCommit;
  readonly #clock: Clock;
  readonly #maxSizeBytes: number;
  readonly #statements: ReturnType<typeof prepare>;

  constructor(path: string, options: { readonly maxSizeBytes: number }, clock: Clock) {
    this.#db = openDatabase(path, assetMigrations, { synchronous: 'NORMAL' });
    this.#group = new GroupCommit(this.#db);
    this.#clock = clock;
    this.#maxSizeBytes = options.maxSizeBytes;
    this.#statements = prepare(this.#db);
  }

  /** All that is known under the key, the newest first. */
  candidates(key: AssetKey): Candidate[] {
    return this.#guarded(() =>
      this.#statements.candidates.all(...columnsOf(key)).map((row) => ({
        id: row.id,
        origin: row.origin,
        qualifiers: new Map(JSON.parse(row.qualifiers) as [string, string][]),
        credentials: row.credentials,
        storedAt: row.stored_at,
        expiresAt: row.expires_at ?? undefined,
      })),
    );
  }

  /** The whole of a candidate, which counts as used; undefined when it is gone or damaged. */
  async find({ digestFunction }: AssetKey, candidate: Candidate): Promise<Asset | undefined> {
    const row = this.#guarded(() => this.#statements.content.get(candidate.id));
    const content = row && decode(row.content, digestFunction);
    if (!content) return undefined;
    const now = this.#clock.now();
    if (now - row.used_at >= TOUCH_AFTER_MS) {
      await this.#run(() => this.#statements.touch.run(now, candidate.id));
    }
    return { ...candidate, ...content };
  }

  /** Keeps the asset under each of the keys, in place of one with the same origin and qualifiers. */
  async put(keys: readonly AssetKey[], asset: Asset): Promise<void> {
    const { origin, credentials, storedAt, expiresAt } = asset;
    const qualifiers = JSON.stringify([...asset.qualifiers]);
    const content = encode(asset);
    const sizeBytes = ROW_OVERHEAD_BYTES + qualifiers.length + content.length;
    const write = () => {
      for (const key of keys) {
        const columns = columnsOf(key);
        const values = [origin, qualifiers, credentials, content, storedAt] as const;
        const now = this.#clock.now();
        this.#statements.put.run(...columns, ...values, expiresAt ?? null, sizeBytes, now);
        this.#statements.trim.run(...columns, VARIANTS_MAX);
      }
      makeRoom(this.#statements, this.#maxSizeBytes);
    };
    await this.#run(write);
  }

  /** Closes the file; nothing may be asked of it after. */
  async close(): Promise<void> {
    try {
      // What was put before is committed first.
      await this.#run(() => {});
    } finally {
      this.#db.close();
    }
  }

  async #run(write: () => void): Promise<void> {
    try {
      await this.#group.run(write);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  #guarded<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      throw this.#failure(error);
    }
  }

  /** A disk that is full or fails for now: clients try again. */
  #failure(thrown: unknown): unknown {
    return databaseFailure(this.#db, 'the table of assets', thrown);
  }
}

function columnsOf({ instanceName, kind, uri, digestFunction }: AssetKey): KeyColumns {
  const uriHash = createHash('sha256').update(uri).digest();
  return [instanceName, kind, uriHash, digestFunction.name];
}

const whereKey = 'namespace = ? and kind = ? and uri_hash = ? and digest_function = ?';

function prepare(db: Database) {
  return {
    candidates: db.prepare<KeyColumns, CandidateRow>(
      'select id, origin, qualifiers, credentials, stored_at, expires_at, used_at from asset ' +
        `where ${whereKey} order by stored_at desc, id desc`,
    ),
    content: db.prepare<[number], { content: Uint8Array; used_at: number }>(
      'select content, used_at from asset where id = ?',
    ),
    put: db.prepare<
      [...KeyColumns, string, string, string, Uint8Array, number, number | null, number, number]
    >(
      'insert into asset (namespace, kind, uri_hash, digest_function, origin, qualifiers, ' +
        'credentials, content, stored_at, expires_at, size_bytes, used_at) ' +
        'values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do update set ' +
        'credentials = excluded.credentials, content = excluded.content, ' +
        'stored_at = excluded.stored_at, expires_at = excluded.expires_at, ' +
        'size_bytes = excluded.size_bytes, used_at = excluded.used_at',
    ),
    trim: db.prepare<[...KeyColumns, number]>(
      `delete from asset where id in (select id from asset where ${whereKey} ` +
        'order by stored_at desc, id desc limit -1 offset ?)',
    ),
    touch: db.prepare<[number, number]>('update asset set used_at = ? where id = ?'),
    remove: db.prepare<[number]>('delete from asset where id = ?'),
    oldest: db.prepare<[number], { id: number; size_bytes: number }>(
      'select id, size_bytes from asset order by used_at, id limit ?',
    ),
    total: db.prepare<[], number>('select size_bytes from total').pluck(),
  };
}

type Content = Pick<Asset, 'digest' | 'referencesBlobs' | 'referencesDirectories'>;

/** The message of a push holds just what is to be kept, for blobs as well. */
function encode({ digest, referencesBlobs, referencesDirectories }: Content): Uint8Array {
  return PushDirectoryRequest.encode(
    PushDirectoryRequest.fromPartial({
      rootDirectoryDigest: digest.toMessage(),
      referencesBlobs: referencesBlobs.map((one) => one.toMessage()),
      referencesDirectories: referencesDirectories.map((one) => one.toMessage()),
    }),
  ).finish();
}

/** A row that is damaged is as good as none. */
function decode(bytes: Uint8Array, digestFunction: DigestFunction): Content | undefined {
  try {
    const message = PushDirectoryRequest.decode(bytes);
    const parse = (digest: typeof message.rootDirectoryDigest) =>
      Digest.fromMessage(digestFunction, digest, 'digest');
    return {
      digest: parse(message.rootDirectoryDigest),
      referencesBlobs: message.referencesBlobs.map(parse),
      referencesDirectories: message.referencesDirectories.map(parse),
    };
  } catch {
    return undefined;
  }
}
