import { type FileHandle, open } from 'node:fs/promises';
import type { Readable } from 'node:stream';

const headerBytes = 8;
/** In the first byte of a frame. */
const streamErr = 2;

/** The files that a container's output goes to. */
export interface OutputFiles {
  readonly stdoutPath: string;
  readonly stderrPath: string;
  /** For each of the two. */
  readonly bytesMax: number;
}

/**
 * Copies the output of a container, which comes in frames of both streams, into two new files, as fast as
 * the disk takes it. What is beyond the limit is dropped: `onLimit` is called once, with the words for it.
 * Fails when the stream breaks.
 */
export async function copyOutput(
  frames: Readable,
  { stdoutPath, stderrPath, bytesMax }: OutputFiles,
  onLimit: (message: string) => void,
): Promise<void> {
  const files: Output[] = [];
  try {
    for (const [file, name] of [
      [stdoutPath, 'output'],
      [stderrPath, 'error'],
    ] as const) {
      files.push(new Output(await open(file, 'ax', 0o600), name, bytesMax, onLimit));
    }
    const [stdout, stderr] = files as [Output, Output];
    let header = Buffer.alloc(0);
    let left = 0;
    let to = stdout;
    for await (const chunk of frames as AsyncIterable<Buffer>) {
      for (let at = 0; at < chunk.length;) {
        if (left === 0) {
          const taken = chunk.subarray(at, at + headerBytes - header.length);
          header = Buffer.concat([header, taken]);
          at += taken.length;
          if (header.length < headerBytes) break;
          to = header[0] === streamErr ? stderr : stdout;
          left = header.readUInt32BE(4);
          header = Buffer.alloc(0);
        }
        const part = chunk.subarray(at, at + left);
        at += part.length;
        left -= part.length;
        await to.write(part);
      }
    }
  } finally {
    frames.destroy();
    for (const { file } of files) await file.close();
  }
}

class Output {
  readonly file: FileHandle;
  readonly #name: string;
  readonly #bytesMax: number;
  readonly #onLimit: (message: string) => void;
  #size = 0;

  constructor(
    file: FileHandle,
    name: string,
    bytesMax: number,
    onLimit: (message: string) => void,
  ) {
    this.file = file;
    this.#name = name;
    this.#bytesMax = bytesMax;
    this.#onLimit = onLimit;
  }

  async write(part: Buffer): Promise<void> {
    const kept = part.subarray(0, this.#bytesMax - this.#size);
    this.#size += kept.length;
    if (kept.length > 0) await this.file.writeFile(kept);
    if (kept.length < part.length) {
      this.#onLimit(`standard ${this.#name} is larger than ${this.#bytesMax} bytes`);
    }
  }
}
