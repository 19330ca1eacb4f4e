import type { Chunks } from '../../src/base/chunks.ts';
import type { ChunkingFunction } from '../../src/chunking/chunking-function.ts';
import { cutChunks } from '../../src/chunking/cut-chunks.ts';

/** The lengths of the chunks that `bytes` are cut into when they come in pieces of that size. */
export async function chunkLengths(
  chunking: ChunkingFunction,
  bytes: Uint8Array,
  pieceBytes = 2 ** 16,
): Promise<number[]> {
  const chunks = await Array.fromAsync(
    cutChunks(piecesOf(bytes, pieceBytes), bytes.length, chunking),
  );
  return chunks.map(({ length }) => length);
}

async function* piecesOf(bytes: Uint8Array, pieceBytes: number): Chunks {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}
