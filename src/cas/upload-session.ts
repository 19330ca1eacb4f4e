import { Code, StatusError } from '../base/status.ts';
import type { Digest } from '../digest/digest.ts';
import type { BlobStore } from './blob-store.ts';
import { orAborted } from '../base/until-aborted.ts';
import { UploadChannel } from './upload-channel.ts';

/** One upload's hold of the store, which outlives the client's streams. */
export class UploadSession {
  readonly digest: Digest;
  /** Resolves when the blob is in the store; rejects when this upload has failed. */
  readonly stored: Promise<void>;
  readonly #channel: UploadChannel;
  readonly #dropped = new AbortController();
  #attached: AbortController | undefined;

  /** Waits for `before`, when earlier sessions have let go of their space. */
  constructor(store: BlobStore, digest: Digest, before: Promise<unknown> | undefined) {
    this.digest = digest;
    this.#channel = new UploadChannel(digest.sizeBytes);
    this.stored = this.#write(store, before);
    this.stored.catch(() => {});
  }

  /** Bytes accepted so far; they need not be sent again. */
  get committedSize(): number {
    return this.#channel.acceptedBytes;
  }

  /** Gives the session to a client's stream, and takes it from the one that has it. */
  attach(signal: AbortSignal, onDetach: () => void): AttachedUpload {
    this.#attached?.abort(
      new StatusError(
        Code.ABORTED,
        `another stream under the same name goes on with the upload of ${this.digest}`,
      ),
    );
    const lost = new AbortController();
    this.#attached = lost;
    const wait = <T>(promise: Promise<T>) => orAborted(promise, lost.signal, signal);
    const stored = wait(this.stored);
    stored.catch(() => {});
    return {
      stored,
      committedSize: () => this.committedSize,
      push: async (chunk) => {
        if (!this.#channel.hasRoom) await wait(this.#channel.waitForRoom());
        lost.signal.throwIfAborted();
        signal.throwIfAborted();
        if (this.#channel.isClosed) {
          await stored;
          return false;
        }
        if (chunk.length > 0) this.#channel.put(chunk);
        return true;
      },
      finish: async () => {
        lost.signal.throwIfAborted();
        this.#channel.end();
        await stored;
      },
      detach: () => {
        if (this.#attached !== lost) return;
        this.#attached = undefined;
        onDetach();
      },
    };
  }

  /** Gives the upload up, with all that was received. */
  drop(reason: StatusError): void {
    this.#dropped.abort(reason);
  }

  async #write(store: BlobStore, before: Promise<unknown> | undefined): Promise<void> {
    try {
      await before;
      await store.write(this.digest, this.#channel.chunks(), this.#dropped.signal);
    } finally {
      this.#channel.close();
    }
  }
}

/** A client's stream while it feeds an upload. */
export interface AttachedUpload {
  /**
   * Resolves as soon as the blob is in the store, by this upload or another one, even while the client
   * is silent (BS-39). Rejects when the upload fails, with ABORTED when a later stream takes it over,
   * and with the signal's reason.
   */
  readonly stored: Promise<void>;
  /** Bytes accepted so far, by this stream and those before it. */
  committedSize(): number;
  /**
   * Hands over the next bytes, as soon as there is room for them. Resolves with true for more, with false
   * when the blob is in the store and no more are needed. Rejects as `stored` does.
   */
  push(chunk: Uint8Array): Promise<boolean>;
  /** Says that the bytes are complete, and waits for `stored`. */
  finish(): Promise<void>;
  /** Call it however the stream ends: what is not finished then waits to be continued. */
  detach(): void;
}
