/** The bytes of one blob, in order. A consumer may keep a chunk; a producer never changes it. */
export type Chunks = AsyncIterable<Uint8Array>;

/** The whole of `chunks` in one buffer. Only for blobs whose size has been checked before. */
export async function collect(chunks: Chunks): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
}

/** Bytes that are at hand, as chunks. */
export async function* chunksOf(bytes: Uint8Array): Chunks {
  if (bytes.length > 0) yield bytes;
}

/** The same chunks; `onTaken` hears how many bytes each has, when it is taken. */
export async function* counting(chunks: Chunks, onTaken: (bytes: number) => void): Chunks {
  for await (const chunk of chunks) {
    onTaken(chunk.length);
    yield chunk;
  }
}
