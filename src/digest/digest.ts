import { quoted } from '../base/quoted.ts';
import { Code, StatusError } from '../base/status.ts';
import type { Digest as DigestMessage } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { DigestFunction } from './digest-function.ts';

const lowerHex = /^[0-9a-f]+$/;

/**
 * The name of a blob: its hash and size under one digest function. Whoever holds one need not check
 * it again: the hash is lower-case hex of the function's length, the size an integer from 0 to 2^53-1.
 */
export class Digest {
  readonly function: DigestFunction;
  readonly hash: string;
  readonly sizeBytes: number;

  private constructor(digestFunction: DigestFunction, hash: string, sizeBytes: number) {
    this.function = digestFunction;
    this.hash = hash;
    this.sizeBytes = sizeBytes;
  }

  /** Fails with INVALID_ARGUMENT unless hash and size are well-formed (DIG-01, DIG-07). */
  static of(digestFunction: DigestFunction, hash: string, sizeBytes: number): Digest {
    if (hash.length !== digestFunction.hexLength || !lowerHex.test(hash)) {
      throw new StatusError(
        Code.INVALID_ARGUMENT,
        `digest hash ${quoted(hash)} is not ${digestFunction.hexLength} ` +
          `lower-case hex characters, the form of ${digestFunction.name}`,
      );
    }
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0) {
      throw new StatusError(
        Code.INVALID_ARGUMENT,
        `digest ${hash} has size_bytes ${sizeBytes}; it must be from 0 to 2^53-1`,
      );
    }
    return new Digest(digestFunction, hash, sizeBytes);
  }

  /** A digest off the wire; `field` names it when it is absent (DIG-19). */
  static fromMessage(
    digestFunction: DigestFunction,
    message: DigestMessage | undefined,
    field: string,
  ): Digest {
    if (!message) throw new StatusError(Code.INVALID_ARGUMENT, `${field} is not set`);
    return Digest.of(digestFunction, message.hash, message.sizeBytes);
  }

  /** The digest of bytes at hand. */
  static ofBytes(digestFunction: DigestFunction, bytes: Uint8Array): Digest {
    return new Digest(digestFunction, digestFunction.hashOf(bytes), bytes.length);
  }

  /** The same text for the same blob, different for different ones: a key for maps (DIG-10). */
  get key(): string {
    return `${this.function.name}/${this.hash}/${this.sizeBytes}`;
  }

  equals(other: Digest): boolean {
    return this.key === other.key;
  }

  toMessage(): DigestMessage {
    return { hash: this.hash, sizeBytes: this.sizeBytes };
  }

  /** As people and the subjects of MISSING violations write it, without `blobs/`: hash/size (EXE-51). */
  toString(): string {
    const { segment } = this.function;
    return `${segment === undefined ? '' : `${segment}/`}${this.hash}/${this.sizeBytes}`;
  }
}
