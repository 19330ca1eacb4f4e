import assert from 'node:assert/strict';
import { timingSafeEqual } from 'node:crypto';
import { mkdir, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import type { Chunks } from '../base/chunks.ts';
import type { Clock } from '../base/clock.ts';
import type { NewId } from '../base/id.ts';
import { Code, StatusError } from '../base/status.ts';
import { untilAborted } from '../base/until-aborted.ts';
import { GrowingLog } from './growing-log.ts';
import { FileBytes, MemoryBytes } from './log-bytes.ts';
import { formatLogName, type LogName, parseLogName } from './log-name.ts';
import type { LogRange, LogStatus, LogStreamNames, LogStreams, LogWrite } from './log-streams.ts';

export interface LocalLogStreamsOptions {
  /**
   * For the files, which are of no use to the next process; nobody else may use it. Undefined to keep all
   * in memory.
   */
  readonly folder: string | undefined;
  readonly clock: Clock;
  readonly newId: NewId;
  /** Streams kept at once; the oldest finished ones make room, and without such there is no new one. */
  readonly streamsMax: number;
  /** Of one stream; it is finished there. */
  readonly streamBytesMax: number;
  /** Of all streams; the oldest finished ones make room. */
  readonly bytesMax: number;
  /** How long a stream can be read once it is finished (LOG-12). */
  readonly retentionMs: number;
  /** A stream that nobody writes is finished after so long: its writer is lost, or has forgotten it. */
  readonly writerGraceMs: number;
}

export const defaultLocalLogStreamsOptions = {
  // Two for each action of half an hour of a busy farm, at 0.5 KB each.
  streamsMax: 50_000,
  // As much as an action may print: HostExecutor ends it there.
  streamBytesMax: 256 * 2 ** 20,
  // A worker that lives is back within its back-off of 3 s; the scheduler waits for it for 15 s.
  writerGraceMs: 15_000,
} as const satisfies Partial<LocalLogStreamsOptions>;

interface Stream {
  readonly id: string;
  readonly parent: string;
  readonly token: string;
  readonly log: GrowingLog;
  writers: number;
  sizeBytes: number;
  /** Ends the wait for a writer, or for the end of the retention. */
  waiting: AbortController;
}

/** The log streams of this process. */
export class LocalLogStreams implements LogStreams {
  readonly #options: LocalLogStreamsOptions;
  readonly #streams = new Map<string, Stream>();
  /** Oldest first. */
  readonly #finished = new Set<Stream>();
  #sizeBytes = 0;

  private constructor(options: LocalLogStreamsOptions) {
    this.#options = options;
  }

  /** Makes the folder if need be, and removes what an earlier process left in it. */
  static async open(options: LocalLogStreamsOptions): Promise<LocalLogStreams> {
    const { folder } = options;
    if (folder !== undefined) {
      await mkdir(folder, { recursive: true });
      const left = (await readdir(folder)).filter((name) => name.endsWith(suffix));
      for (const name of left) await rm(path.join(folder, name), { force: true });
    }
    return new LocalLogStreams(options);
  }

  async create(parent: string): Promise<LogStreamNames> {
    const { folder, newId, streamsMax } = this.#options;
    if (this.#streams.size >= streamsMax && !this.#forgetOldest()) {
      throw new StatusError(
        Code.RESOURCE_EXHAUSTED,
        `${streamsMax} log streams are being written, which is the limit; come back later`,
      );
    }
    const [id, token] = [newId(), newId()];
    const bytes =
      folder === undefined ? new MemoryBytes() : new FileBytes(path.join(folder, id + suffix));
    const log = new GrowingLog(bytes, (wanted) => this.#reserve(stream, wanted));
    const waiting = new AbortController();
    const stream: Stream = { id, parent, token, log, writers: 0, sizeBytes: 0, waiting };
    this.#streams.set(id, stream);
    this.#awaitWriter(stream);
    const name = formatLogName(parent, id);
    return { name, writeName: `${name}/${token}` };
  }

  async write(
    writeName: string,
    { offset, isLast }: LogWrite,
    chunks: Chunks,
    signal: AbortSignal,
  ): Promise<number> {
    const stream = this.#writable(writeName);
    stream.log.check(offset);
    stream.writers += 1;
    stream.waiting.abort();
    try {
      let at = offset;
      for await (const chunk of untilAborted(chunks, signal)) {
        await stream.log.append(at, chunk);
        at += chunk.length;
      }
      if (isLast()) await stream.log.finish();
      return at;
    } finally {
      stream.writers -= 1;
      if (stream.log.status.isFinished) this.#retain(stream);
      else if (stream.writers === 0) this.#awaitWriter(stream);
    }
  }

  async status(name: string): Promise<LogStatus> {
    const parsed = parsedName(name);
    return (parsed.token === undefined ? this.#find(parsed) : this.#writable(name)).log.status;
  }

  async *read(name: string, range: LogRange, signal: AbortSignal): Chunks {
    const parsed = parsedName(name);
    if (parsed.token !== undefined) {
      throw new StatusError(
        Code.INVALID_ARGUMENT,
        'this name of a log stream is for writing: to read, leave out what follows the id',
      );
    }
    yield* this.#find(parsed).log.read(range, signal);
  }

  /** Finishes and forgets all streams. Those who read one still get to its end. */
  async close(): Promise<void> {
    const removed = [...this.#streams.values()].map((stream) => this.#forget(stream));
    await Promise.all(removed);
  }

  #find({ parent, id }: LogName): Stream {
    const stream = this.#streams.get(id);
    if (stream && (parent === undefined || parent === stream.parent)) return stream;
    throw new StatusError(
      Code.NOT_FOUND,
      `there is no log stream ${JSON.stringify(id.slice(0, 100))}, or it is forgotten`,
    );
  }

  #writable(writeName: string): Stream {
    const parsed = parsedName(writeName);
    if (parsed.token === undefined) {
      throw new StatusError(
        Code.INVALID_ARGUMENT,
        'this name of a log stream is for reading: to write, use its write_resource_name',
      );
    }
    const stream = this.#find(parsed);
    if (isSame(parsed.token, stream.token)) return stream;
    throw new StatusError(Code.NOT_FOUND, `log stream ${stream.id} is not written under this name`);
  }

  /** How many of the bytes there is room for, once older streams have made some. */
  #reserve(stream: Stream, bytes: number): number {
    const { streamBytesMax, bytesMax } = this.#options;
    const wanted = Math.min(bytes, streamBytesMax - stream.sizeBytes);
    while (this.#sizeBytes + wanted > bytesMax && this.#forgetOldest());
    const room = Math.max(0, Math.min(wanted, bytesMax - this.#sizeBytes));
    stream.sizeBytes += room;
    this.#sizeBytes += room;
    return room;
  }

  #awaitWriter(stream: Stream): void {
    // It is finished even where its file cannot be closed.
    const retain = () => this.#retain(stream);
    this.#after(this.#options.writerGraceMs, stream, () => {
      void stream.log.finish().then(retain, retain);
    });
  }

  #retain(stream: Stream): void {
    if (this.#finished.has(stream) || !this.#streams.has(stream.id)) return;
    this.#finished.add(stream);
    this.#after(this.#options.retentionMs, stream, () => void this.#forget(stream));
  }

  #after(ms: number, stream: Stream, act: () => void): void {
    stream.waiting.abort();
    if (!this.#streams.has(stream.id)) return;
    stream.waiting = new AbortController();
    this.#options.clock.sleep(ms, stream.waiting.signal).then(act, () => {});
  }

  #forgetOldest(): boolean {
    const [oldest] = this.#finished;
    if (oldest) void this.#forget(oldest);
    return oldest !== undefined;
  }

  #forget(stream: Stream): Promise<void> {
    assert.ok(this.#streams.delete(stream.id), 'a stream is forgotten once');
    this.#finished.delete(stream);
    this.#sizeBytes -= stream.sizeBytes;
    stream.waiting.abort();
    // A file that cannot be removed now goes with the next start.
    return stream.log.remove().catch(() => {});
  }
}

const suffix = '.log';

function parsedName(name: string): LogName {
  const parsed = parseLogName(name);
  if (parsed) return parsed;
  throw new StatusError(Code.INVALID_ARGUMENT, 'the name is not of a log stream');
}

function isSame(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}
