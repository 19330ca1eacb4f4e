import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import type { Chunks } from '../base/chunks.ts';
import type { Clock } from '../base/clock.ts';
import { Code, StatusError } from '../base/status.ts';
import { idOfLogName } from '../logs/log-name.ts';
import type { LogStatus, LogStreamNames, LogStreams } from '../logs/log-streams.ts';

/** What operations tell of the streams of a command (LOG-11). */
export interface OutputStreamNames {
  readonly stdout: string;
  readonly stderr: string;
}

export interface LiveOutputOptions {
  readonly logs: LogStreams;
  readonly instanceName: string;
  /** The files that grow. */
  readonly stdoutPath: string;
  readonly stderrPath: string;
  readonly clock: Clock;
  /** Told when the streams are there, and when they are others. */
  readonly onStreams: (names: OutputStreamNames) => void;
}

/** What ends sooner has a result before anybody could read its streams, which would cost six calls. */
const startAfterMs = 100;
/** What a command prints within it goes out together; people notice no less. */
const lookEveryMs = 100;
/** Of what is far behind, at once: this much memory for each stream. */
const pieceBytesMax = 256 * 1024;
const retryMs = 1_000;
/** How long the result of an action waits for the rest of its output, which it has as a blob anyway. */
const lastOutputMs = 5_000;

/**
 * Sends what a command prints to where it can be read while the command runs (EXE-63). The files wait for
 * the network, so a slow server slows no command and needs no memory; a write that breaks goes on at what
 * is committed. That there are no streams, or that they break off, is no error: the result has it all.
 */
export class LiveOutput {
  readonly #options: LiveOutputOptions;
  /** Aborts once the command has ended. */
  readonly #over = new AbortController();
  readonly #giveUp = new AbortController();
  readonly #names = { stdout: '', stderr: '' };
  readonly #sent: Promise<unknown>;

  /** The command starts now. */
  constructor(options: LiveOutputOptions) {
    this.#options = options;
    this.#sent = this.#run();
  }

  /** The command prints no more. Resolves when what it did print is sent, or that takes too long. */
  async end(): Promise<void> {
    this.#over.abort();
    const sent = new AbortController();
    const late = this.#options.clock.sleep(lastOutputMs, sent.signal);
    late.then(
      () => this.#giveUp.abort(new StatusError(Code.DEADLINE_EXCEEDED, 'the command has ended')),
      () => {},
    );
    await this.#sent;
    sent.abort();
  }

  async #run(): Promise<void> {
    await this.#slept(startAfterMs);
    if (this.#over.signal.aborted) return;
    const { stdoutPath, stderrPath } = this.#options;
    await Promise.allSettled([this.#send('stdout', stdoutPath), this.#send('stderr', stderrPath)]);
  }

  /** Fails when the stream cannot be had, or has no room for more. */
  async #send(kind: keyof OutputStreamNames, file: string): Promise<void> {
    const { logs, clock } = this.#options;
    const { signal } = this.#giveUp;
    const output = new GrowingFile(file);
    let names: LogStreamNames | undefined;
    let offset = 0;
    try {
      for (;;) {
        try {
          names ??= await this.#create(kind);
          const write = { offset, isLast: () => true };
          await logs.write(names.writeName, write, this.#chunks(output, offset), signal);
          return;
        } catch (thrown) {
          signal.throwIfAborted();
          const error = StatusError.from(thrown);
          if (final.includes(error.code)) throw error;
          await clock.sleep(retryMs, signal);
        }
        const known = names && (await this.#statusOf(names));
        // Without the command's end only the server finishes it, when the worker was away for long.
        if (known?.isFinished && this.#over.signal.aborted) return;
        if (!known || known.isFinished) names = undefined;
        offset = names && known ? known.committedBytes : 0;
      }
    } finally {
      await output.close();
    }
  }

  async #create(kind: keyof OutputStreamNames): Promise<LogStreamNames> {
    const { logs, instanceName, onStreams } = this.#options;
    const names = await logs.create(instanceName, this.#giveUp.signal);
    this.#names[kind] = idOfLogName(names.name);
    onStreams({ ...this.#names });
    return names;
  }

  /** Undefined when the server does not know the stream, as it was started anew. */
  async #statusOf({ writeName }: LogStreamNames): Promise<LogStatus | undefined> {
    const { logs, clock } = this.#options;
    for (;;) {
      try {
        return await logs.status(writeName, this.#giveUp.signal);
      } catch (thrown) {
        if (StatusError.from(thrown).code === Code.NOT_FOUND) return undefined;
        await clock.sleep(retryMs, this.#giveUp.signal);
      }
    }
  }

  async *#chunks(output: GrowingFile, offset: number): Chunks {
    for (let at = offset; ;) {
      // Before the look: what was printed until now is seen by it.
      const isOver = this.#over.signal.aborted;
      const bytes = await output.read(at);
      at += bytes.length;
      if (bytes.length > 0) yield bytes;
      else if (isOver) return;
      else await this.#slept(lookEveryMs);
    }
  }

  /** Shorter when the command ends. */
  #slept(ms: number): Promise<void> {
    return this.#options.clock.sleep(ms, this.#over.signal).catch(() => {});
  }
}

/** A file that may not be there yet, and that a command can take away. */
class GrowingFile {
  readonly #file: string;
  #handle: FileHandle | undefined;

  constructor(file: string) {
    this.#file = file;
  }

  /** Nothing while there is nothing more. */
  async read(at: number): Promise<Uint8Array> {
    this.#handle ??= await this.#open();
    if (!this.#handle) return new Uint8Array();
    const { size } = await this.#handle.stat();
    const chunk = Buffer.allocUnsafe(Math.max(0, Math.min(size - at, pieceBytesMax)));
    if (chunk.length === 0) return chunk;
    const { bytesRead } = await this.#handle.read(chunk, 0, chunk.length, at);
    return chunk.subarray(0, bytesRead);
  }

  async close(): Promise<void> {
    await this.#handle?.close();
  }

  async #open(): Promise<FileHandle | undefined> {
    const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
    try {
      const handle = await open(this.#file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
      if ((await handle.stat()).isFile()) return handle;
      await handle.close();
    } catch {
      // It is made when the command starts.
    }
    return undefined;
  }
}

/** What another try cannot mend, nor a new stream or another offset. */
const final: readonly Code[] = [
  Code.INVALID_ARGUMENT,
  Code.PERMISSION_DENIED,
  Code.RESOURCE_EXHAUSTED,
  Code.UNAUTHENTICATED,
  Code.UNIMPLEMENTED,
];
