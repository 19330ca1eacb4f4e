import { closeSync, fchownSync, fstatSync, ftruncateSync, openSync } from 'node:fs';
import type { LaunchRequest } from './launcher-messages.ts';

/** The files of a command's standard output and standard error, which it writes to by itself. */
export class CommandOutput {
  /** That of standard output first. */
  readonly descriptors: readonly number[];
  readonly #bytesMax: number;

  private constructor(descriptors: readonly number[], bytesMax: number) {
    this.descriptors = descriptors;
    this.#bytesMax = bytesMax;
  }

  /** Makes the files, so that nobody waits before one; the command may open it again as /dev/stdout. */
  static open({ stdoutPath, stderrPath, owner, outputBytesMax }: LaunchRequest): CommandOutput {
    const descriptors: number[] = [];
    const output = new CommandOutput(descriptors, outputBytesMax);
    try {
      for (const file of [stdoutPath, stderrPath]) {
        const descriptor = openSync(file, 'ax', 0o600);
        descriptors.push(descriptor);
        if (owner) fchownSync(descriptor, owner.uid, owner.gid);
      }
      return output;
    } catch (error) {
      output[Symbol.dispose]();
      throw error;
    }
  }

  /** Which of them is larger than it may be, in words; undefined when none is. */
  excess(): string | undefined {
    const large = this.descriptors.findIndex((descriptor) => this.#isBeyond(descriptor));
    if (large === -1) return undefined;
    return `standard ${large === 0 ? 'output' : 'error'} is larger than ${this.#bytesMax} bytes`;
  }

  /** Cuts each to the limit. */
  trim(): void {
    for (const descriptor of this.descriptors) {
      if (this.#isBeyond(descriptor)) ftruncateSync(descriptor, this.#bytesMax);
    }
  }

  [Symbol.dispose](): void {
    for (const descriptor of this.descriptors) closeSync(descriptor);
  }

  #isBeyond(descriptor: number): boolean {
    return fstatSync(descriptor).size > this.#bytesMax;
  }
}
