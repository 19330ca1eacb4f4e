import { Code, StatusError } from '../base/status.ts';
import type { Hasher } from '../digest/digest-function.ts';
import type { Digest } from '../digest/digest.ts';

/** Compares bytes that arrive with the digest they are said to have (DIG-20). */
export class UploadCheck {
  readonly #digest: Digest;
  readonly #hasher: Hasher;
  #sizeBytes = 0;

  constructor(digest: Digest) {
    this.#digest = digest;
    this.#hasher = digest.function.createHasher(digest.sizeBytes);
  }

  /** Takes the next bytes; fails with INVALID_ARGUMENT as soon as there are too many (BS-36). */
  update(chunk: Uint8Array): void {
    this.#sizeBytes += chunk.length;
    if (this.#sizeBytes > this.#digest.sizeBytes) {
      throw new StatusError(
        Code.INVALID_ARGUMENT,
        `the upload of ${this.#digest} has more than ${this.#digest.sizeBytes} bytes`,
      );
    }
    this.#hasher.update(chunk);
  }

  /** Fails with INVALID_ARGUMENT, naming both digests, unless the bytes are the digest's. */
  finish(): void {
    const hash = this.#hasher.digest();
    if (this.#sizeBytes === this.#digest.sizeBytes && hash === this.#digest.hash) return;
    throw new StatusError(
      Code.INVALID_ARGUMENT,
      `the bytes uploaded as ${this.#digest} have the digest ${hash}/${this.#sizeBytes}`,
    );
  }
}
