/** The bytes of one blob, in order. A consumer may keep a chunk; a producer never changes it. */
export type Chunks = AsyncIterable<Uint8Array>;

/** Bytes that can be had again, such as a file's: a transfer that broke goes on in their midst. */
export interface SeekableChunks extends Chunks {
  /** Those from `offset` on, anew with each call. */
  from(offset: number): Chunks;
}

/** Chunks whose iteration begins with a call of `from` too. */
export function seekable(from: (offset: number) => Chunks): SeekableChunks {
  return { from, [Symbol.asyncIterator]: () => from(0)[Symbol.asyncIterator]() };
}

/** Whether the bytes can be had more than once. */
export function isSeekable(chunks: Chunks): chunks is SeekableChunks {
  return 'from' in chunks;
}

/** The whole of `chunks` in one buffer. Only for blobs whose size has been checked before. */
export async function collect(chunks: Chunks): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
}

/** Bytes that are at hand, as chunks. */
export function chunksOf(bytes: Uint8Array): SeekableChunks {
  return seekable(async function* from(offset) {
    if (bytes.length > offset) yield bytes.subarray(offset);
  });
}

/**
 * The same chunks, seekable if they are; `onTaken` hears how many bytes each has, when it is taken for the
 * first time.
 */
export function counting(chunks: Chunks, onTaken: (bytes: number) => void): Chunks {
  let counted = 0;
  async function* count(source: Chunks, offset: number): Chunks {
    let at = offset;
    for await (const chunk of source) {
      at += chunk.length;
      if (at > counted) onTaken(at - counted);
      counted = Math.max(counted, at);
      yield chunk;
    }
  }
  return isSeekable(chunks)
    ? seekable((offset) => count(chunks.from(offset), offset))
    : count(chunks, 0);
}
