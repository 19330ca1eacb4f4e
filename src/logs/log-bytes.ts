import { constants } from 'node:fs';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { Code, StatusError } from '../base/status.ts';

/** Where the bytes of one stream are. One writer at a time; readers read what is written. */
export interface LogBytes {
  write(bytes: Uint8Array, at: number): Promise<void>;
  /** There will be no more writes. */
  close(): Promise<void>;
  /** Readers that are open keep what they read. */
  remove(): Promise<void>;
  openReader(): Promise<LogReader>;
}

export interface LogReader {
  /** Some bytes from `at` on, at least one and at most `bytesMax`; they are known to be there. */
  read(at: number, bytesMax: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** Bytes in a file, which is made with the first of them and must not be there. */
export class FileBytes implements LogBytes {
  readonly #file: string;
  #handle: FileHandle | undefined;

  constructor(file: string) {
    this.#file = file;
  }

  async write(bytes: Uint8Array, at: number): Promise<void> {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL;
    this.#handle ??= await open(this.#file, flags, 0o600);
    for (let done = 0; done < bytes.length;) {
      const left = bytes.length - done;
      const { bytesWritten } = await this.#handle.write(bytes, done, left, at + done);
      done += bytesWritten;
    }
  }

  async close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close();
  }

  async remove(): Promise<void> {
    await rm(this.#file, { force: true });
  }

  async openReader(): Promise<LogReader> {
    const handle = await open(this.#file, 'r');
    return {
      read: async (at, bytesMax) => {
        const chunk = Buffer.allocUnsafe(bytesMax);
        const { bytesRead } = await handle.read(chunk, 0, bytesMax, at);
        if (bytesRead > 0) return chunk.subarray(0, bytesRead);
        throw new StatusError(Code.DATA_LOSS, `the file of a log stream ends before byte ${at}`);
      },
      close: () => handle.close(),
    };
  }
}

interface Part {
  readonly at: number;
  /** May have room for more. */
  readonly bytes: Buffer;
}

/** A log that grows byte by byte shall have few parts, and a short one little that is empty. */
const partBytes = { min: 512, max: 64 * 1024 };

/** Bytes in memory: at most twice what was written, and 512. */
export class MemoryBytes implements LogBytes {
  readonly #parts: Part[] = [];

  async write(bytes: Uint8Array, at: number): Promise<void> {
    const last = this.#parts.at(-1);
    if (last && at + bytes.length <= last.at + last.bytes.length) {
      last.bytes.set(bytes, at - last.at);
      return;
    }
    const room = Math.min(Math.max(at, partBytes.min), partBytes.max);
    const part = { at, bytes: Buffer.alloc(Math.max(bytes.length, room)) };
    part.bytes.set(bytes);
    this.#parts.push(part);
  }

  async close(): Promise<void> {}

  async remove(): Promise<void> {}

  async openReader(): Promise<LogReader> {
    return {
      read: async (at, bytesMax) => {
        const index = this.#parts.findLastIndex((part) => part.at <= at);
        const part = this.#parts[index];
        if (!part) throw new StatusError(Code.DATA_LOSS, `a log stream has no byte ${at}`);
        // What follows in another part leaves the rest of this one empty.
        const endAt = Math.min(at + bytesMax, this.#parts[index + 1]?.at ?? Infinity);
        return part.bytes.subarray(at - part.at, endAt - part.at);
      },
      close: async () => {},
    };
  }
}
