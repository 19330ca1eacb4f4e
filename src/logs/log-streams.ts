import type { Chunks } from '../base/chunks.ts';

/** The names of a stream (LOG-01). */
export interface LogStreamNames {
  /** For reading: `[parent/]logstreams/id`. Who knows it may read: the id cannot be guessed. */
  readonly name: string;
  /** For writing: the name, then a token that is for its writer alone (LOG-09). */
  readonly writeName: string;
}

export interface LogStatus {
  /** Bytes that can be read. They never change (LOG-04). */
  readonly committedBytes: number;
  /** Nothing will be added. */
  readonly isFinished: boolean;
}

export interface LogWrite {
  /** Where the first byte belongs: at the committed size (LOG-05). */
  readonly offset: number;
  /** Asked once all chunks are taken: whether they were the last ones of the stream. */
  readonly isLast: () => boolean;
}

export interface LogRange {
  readonly offset: number;
  /** 0 for all. */
  readonly limitBytes: number;
}

/**
 * Output that is read while it is written. Whatever waits does so until its signal aborts. A name that
 * is not known, or not any more, is NOT_FOUND (LOG-14).
 */
export interface LogStreams {
  /** A new, empty stream. Its first writer is awaited for a while, then the stream is finished. */
  create(parent: string, signal: AbortSignal): Promise<LogStreamNames>;
  /**
   * Appends the chunks, each readable as soon as it is taken; the size committed then. OUT_OF_RANGE when
   * the offset is not the committed size, FAILED_PRECONDITION when the stream is finished (LOG-04), and
   * RESOURCE_EXHAUSTED, with the stream finished, when there is no room for more.
   */
  write(writeName: string, write: LogWrite, chunks: Chunks, signal: AbortSignal): Promise<number>;
  /** Of a stream by either of its names (LOG-13). */
  status(name: string, signal: AbortSignal): Promise<LogStatus>;
  /**
   * The bytes from an offset on, as they come, to the end of the finished stream (LOG-06, LOG-07). An
   * offset beyond what is there is waited for, and OUT_OF_RANGE once the stream is finished.
   */
  read(name: string, range: LogRange, signal: AbortSignal): Chunks;
}
