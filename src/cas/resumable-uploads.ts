import type { Clock } from '../base/clock.ts';
import { Code, StatusError } from '../base/status.ts';
import type { Digest } from '../digest/digest.ts';
import type { BlobStore } from './blob-store.ts';
import { SilenceWatch } from './silence-watch.ts';
import { type AttachedUpload, UploadSession } from './upload-session.ts';

export interface ResumableUploadsOptions {
  /** How long an upload whose stream broke waits for the client (BS-51). */
  readonly idleTimeoutMs: number;
  /** How long a client may send nothing while it is waited for, before its stream ends. */
  readonly silentTimeoutMs: number;
  /** How many such uploads wait; beyond it the one that broke first is dropped. */
  readonly waitingMax: number;
  /** What the blobs of all such uploads may take of the store, which keeps that room for them. */
  readonly waitingBytesMax: number;
}

export const defaultResumableUploadsOptions: ResumableUploadsOptions = {
  // Clients retry within seconds; each waiting upload holds the space its blob will take.
  idleTimeoutMs: 600_000,
  // A stream that nothing comes on holds that space too; no client rests for minutes within a blob.
  silentTimeoutMs: 600_000,
  // Each holds an open file and a few chunks.
  waitingMax: 256,
  // Some large blobs; a build that is interrupted leaves hundreds of uploads.
  waitingBytesMax: 8 * 2 ** 30,
};

export interface UploadStatus {
  readonly committedSize: number;
  readonly complete: boolean;
}

/**
 * Uploads of one instance that can go on after the client's stream broke, by resource name. They live
 * in this process: after a restart, clients begin again at 0 (BS-46).
 */
export class ResumableUploads {
  readonly #store: BlobStore;
  readonly #clock: Clock;
  readonly #options: ResumableUploadsOptions;
  readonly #sessions = new Map<string, UploadSession>();
  /** Those in #sessions, and those that another of the same name has taken the place of. */
  readonly #live = new Set<UploadSession>();
  /** Those without a stream, the one that broke first in front; aborting ends the wait. */
  readonly #waiting = new Map<UploadSession, AbortController>();

  constructor(
    store: BlobStore,
    clock: Clock,
    options: ResumableUploadsOptions = defaultResumableUploadsOptions,
  ) {
    this.#store = store;
    this.#clock = clock;
    this.#options = options;
  }

  /**
   * Begins the upload called `name` at offset 0, in place of one that was left, or goes on with it at
   * its committed size. Any other offset fails with OUT_OF_RANGE (BS-47), unless the blob is there
   * already. A stream that is still attached under the name fails with ABORTED when this one goes on
   * with its upload; when this one begins at 0, both go on: some clients have one id for all uploads
   * (RCC-03), and all uploads of one blob succeed (CAS-63).
   */
  async attach(
    name: string,
    digest: Digest,
    firstOffset: number,
    signal: AbortSignal,
  ): Promise<AttachedUpload> {
    signal.throwIfAborted();
    const committedSize = this.#find(name, digest)?.committedSize ?? 0;
    if (firstOffset !== 0 && firstOffset !== committedSize) {
      const missing = await this.#store.findMissing([digest], signal);
      if (missing.length === 0) return alreadyStored(digest);
      throw new StatusError(
        Code.OUT_OF_RANGE,
        `the upload of ${digest} cannot begin at offset ${firstOffset}: ${committedSize} bytes are ` +
          'committed under this name; go on there, or begin again at 0',
      );
    }
    const session =
      firstOffset === 0 ? this.#begin(name, digest) : (this.#sessions.get(name) as UploadSession);
    this.#waiting.get(session)?.abort();
    this.#waiting.delete(session);
    return session.attach(signal, () => this.#wait(name, session));
  }

  /**
   * For the messages of one stream, resumable or not: it ends with DEADLINE_EXCEEDED, which clients retry
   * (ERR-01), when none comes for long. What is committed then waits as when a connection breaks.
   */
  watch(digest: Digest): SilenceWatch {
    const { silentTimeoutMs } = this.#options;
    const text = `nothing of the upload of ${digest} came for ${silentTimeoutMs / 1000} s; go on with it`;
    const reason = () => new StatusError(Code.DEADLINE_EXCEEDED, text);
    return new SilenceWatch(this.#clock, silentTimeoutMs, reason);
  }

  /** What QueryWriteStatus answers: an upload that is not known has 0 bytes, and no error (BS-62). */
  async status(name: string, digest: Digest, signal: AbortSignal): Promise<UploadStatus> {
    const missing = await this.#store.findMissing([digest], signal);
    if (missing.length === 0) return { committedSize: digest.sizeBytes, complete: true };
    return { committedSize: this.#find(name, digest)?.committedSize ?? 0, complete: false };
  }

  /** Drops all uploads; resolves when the store has let go of them. */
  async close(): Promise<void> {
    const sessions = [...this.#live];
    for (const session of sessions) {
      session.drop(new StatusError(Code.UNAVAILABLE, 'the server is shutting down'));
    }
    await Promise.allSettled(sessions.map(({ stored }) => stored));
  }

  /** A name says the digest, but not always its function. */
  #find(name: string, digest: Digest): UploadSession | undefined {
    const session = this.#sessions.get(name);
    return session?.digest.equals(digest) ? session : undefined;
  }

  #begin(name: string, digest: Digest): UploadSession {
    const left = [...this.#waiting.keys()].filter(
      (waiting) => waiting === this.#sessions.get(name) || waiting.digest.equals(digest),
    );
    for (const session of left) {
      session.drop(
        new StatusError(
          Code.ABORTED,
          `the upload of ${session.digest} was begun again at offset 0`,
        ),
      );
    }
    const before = Promise.allSettled(left.map(({ stored }) => stored));
    const session = new UploadSession(this.#store, digest, left.length > 0 ? before : undefined);
    this.#sessions.set(name, session);
    this.#live.add(session);
    const forget = () => {
      this.#live.delete(session);
      if (this.#sessions.get(name) === session) this.#sessions.delete(name);
      this.#waiting.get(session)?.abort();
      this.#waiting.delete(session);
    };
    session.stored.then(forget, forget);
    return session;
  }

  /** Keeps a session that lost its stream, for a while, if its name still leads to it. */
  #wait(name: string, session: UploadSession): void {
    if (this.#sessions.get(name) !== session) {
      session.drop(new StatusError(Code.ABORTED, `the upload of ${session.digest} was left`));
      return;
    }
    const resumed = new AbortController();
    this.#waiting.set(session, resumed);
    const drop = () =>
      session.drop(new StatusError(Code.ABORTED, `the upload of ${session.digest} was left`));
    this.#clock.sleep(this.#options.idleTimeoutMs, resumed.signal).then(drop, () => {});
    const { waitingMax, waitingBytesMax } = this.#options;
    let count = this.#waiting.size;
    let bytes = this.#waiting.keys().reduce((sum, { digest }) => sum + digest.sizeBytes, 0);
    for (const oldest of this.#waiting.keys()) {
      if (count <= waitingMax && bytes <= waitingBytesMax) return;
      oldest.drop(new StatusError(Code.ABORTED, 'too many uploads were left unfinished'));
      count--;
      bytes -= oldest.digest.sizeBytes;
    }
  }
}

/** The stream of a client that sends what is there already. */
function alreadyStored(digest: Digest): AttachedUpload {
  return {
    stored: Promise.resolve(),
    committedSize: () => digest.sizeBytes,
    push: async () => false,
    finish: async () => {},
    detach: () => {},
  };
}
