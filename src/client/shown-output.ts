import { createHash } from 'node:crypto';
import type { Chunks } from '../base/chunks.ts';
import { chunksOf } from '../base/chunks.ts';
import type { Clock } from '../base/clock.ts';
import { StatusError } from '../base/status.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import { Digest } from '../digest/digest.ts';
import { logNameOf } from '../logs/log-name.ts';
import type { LogStreams } from '../logs/log-streams.ts';
import type {
  ActionResult,
  Digest as DigestMessage,
  ExecuteOperationMetadata,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';

/** Takes bytes; resolves when it wants more. */
export type Sink = (bytes: Uint8Array) => Promise<void>;

export interface ShownOutputOptions {
  readonly logs: LogStreams;
  readonly blobs: BlobStore;
  readonly instanceName: string;
  readonly clock: Clock;
  readonly stdout: Sink;
  readonly stderr: Sink;
  /** Output was shown that is not what the action ended with: another attempt printed something else. */
  readonly onDifference: (name: 'stdout' | 'stderr') => void;
}

/** How long the last output of an action without a result is waited for: its worker ends it first. */
const lastOutputMs = 20_000;

/**
 * The output of one action, shown once and in order: from its streams while it runs, where the server has
 * any (RCL-08), and what these did not give from its result.
 */
export class ShownOutput {
  readonly #options: ShownOutputOptions;
  readonly #stdout: ShownStream;
  readonly #stderr: ShownStream;

  constructor(options: ShownOutputOptions) {
    this.#options = options;
    this.#stdout = new ShownStream(options.stdout);
    this.#stderr = new ShownStream(options.stderr);
  }

  /** Shows what the streams of a running action give from now on; nothing is waited for. */
  follow(metadata: ExecuteOperationMetadata): void {
    const { logs, instanceName } = this.#options;
    const follow = (shown: ShownStream, told: string) => {
      if (told === '') {
        shown.doubt();
        return;
      }
      const name = logNameOf(instanceName, told);
      const read = (offset: number, signal: AbortSignal) =>
        logs.read(name, { offset, limitBytes: 0 }, signal);
      shown.follow(name, read);
    };
    follow(this.#stdout, metadata.stdoutStreamName);
    follow(this.#stderr, metadata.stderrStreamName);
  }

  /** Shows the output that is there now and was not shown. */
  async catchUp(metadata: ExecuteOperationMetadata, signal: AbortSignal): Promise<void> {
    const { logs, instanceName } = this.#options;
    const show = async (shown: ShownStream, told: string) => {
      if (told === '') return;
      const name = logNameOf(instanceName, told);
      const { committedBytes } = await logs.status(name, signal);
      const limitBytes = committedBytes - shown.bytes;
      if (limitBytes <= 0) return;
      await shown.show(logs.read(name, { offset: shown.bytes, limitBytes }, signal));
    };
    await show(this.#stdout, metadata.stdoutStreamName);
    await show(this.#stderr, metadata.stderrStreamName);
  }

  /**
   * The action has ended. Shows what is lacking: from its result, or what the streams still give when it
   * was cut short and its result, if any, has no output.
   */
  async finish(
    result: ActionResult | undefined,
    isCutShort: boolean,
    digestFunction: DigestFunction,
    signal: AbortSignal,
  ): Promise<void> {
    if (!result || (isCutShort && isSilent(result))) {
      await this.#ended(signal);
      return;
    }
    const { stdoutRaw, stdoutDigest, stderrRaw, stderrDigest } = result;
    await this.#complete('stdout', this.#stdout, stdoutRaw, stdoutDigest, digestFunction, signal);
    await this.#complete('stderr', this.#stderr, stderrRaw, stderrDigest, digestFunction, signal);
  }

  /** Shows no more. */
  async stop(): Promise<void> {
    await Promise.all([this.#stdout.stop(), this.#stderr.stop()]);
  }

  async #ended(signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const late = this.#options.clock.sleep(lastOutputMs, AbortSignal.any([over.signal, signal]));
    const ended = Promise.all([this.#stdout.ended(), this.#stderr.ended()]);
    await Promise.race([ended, late.catch(() => {})]);
    over.abort();
    await this.stop();
    signal.throwIfAborted();
  }

  async #complete(
    name: 'stdout' | 'stderr',
    shown: ShownStream,
    raw: Uint8Array,
    message: DigestMessage | undefined,
    digestFunction: DigestFunction,
    signal: AbortSignal,
  ): Promise<void> {
    await shown.stop();
    const digest = message && Digest.fromMessage(digestFunction, message, name);
    const read = (offset: number) =>
      raw.length > 0 || !digest
        ? chunksOf(raw.subarray(offset))
        : this.#options.blobs.read(digest, offset, signal);
    const sizeBytes = raw.length > 0 ? raw.length : (digest?.sizeBytes ?? 0);
    try {
      const isSame = !shown.isDoubtful || (await shown.isStartOf(read(0)));
      if (!isSame || shown.bytes > sizeBytes) this.#options.onDifference(name);
      else if (shown.bytes < sizeBytes) await shown.show(read(shown.bytes));
    } catch (thrown) {
      throw StatusError.during(`fetching the action's ${name}`, thrown);
    }
  }
}

function isSilent({ stdoutRaw, stdoutDigest, stderrRaw, stderrDigest }: ActionResult): boolean {
  const hasRaw = stdoutRaw.length > 0 || stderrRaw.length > 0;
  return !hasRaw && stdoutDigest === undefined && stderrDigest === undefined;
}

/** What was shown of one stream, over all attempts of its action. */
class ShownStream {
  readonly #sink: Sink;
  readonly #hasher = createHash('sha256');
  #name: string | undefined;
  #stop = new AbortController();
  #following: Promise<void> = Promise.resolve();
  bytes = 0;
  /** Some of it may be of another attempt than the last one. */
  isDoubtful = false;

  constructor(sink: Sink) {
    this.#sink = sink;
  }

  /** Follows another stream from where the last one was left; one that breaks off is no error. */
  follow(name: string, read: (offset: number, signal: AbortSignal) => Chunks): void {
    if (name === this.#name) return;
    this.doubt();
    this.#name = name;
    this.#stop.abort();
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    this.#following = this.#following.then(async () => {
      if (signal.aborted) return;
      await this.show(read(this.bytes, signal)).catch(() => {});
    });
  }

  /** The stream that was followed is not told any more: another attempt may have taken its place. */
  doubt(): void {
    this.isDoubtful ||= this.#name !== undefined;
  }

  async show(chunks: Chunks): Promise<void> {
    for await (const chunk of chunks) {
      this.bytes += chunk.length;
      this.#hasher.update(chunk);
      await this.#sink(chunk);
    }
  }

  /** Whether all that was shown is what these bytes begin with. */
  async isStartOf(chunks: Chunks): Promise<boolean> {
    const hasher = createHash('sha256');
    let left = this.bytes;
    for await (const chunk of chunks) {
      hasher.update(chunk.subarray(0, left));
      left -= Math.min(left, chunk.length);
      if (left === 0) break;
    }
    return left === 0 && hasher.digest().equals(this.#hasher.copy().digest());
  }

  ended(): Promise<void> {
    return this.#following;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#following;
  }
}
