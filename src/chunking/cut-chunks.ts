import assert from 'node:assert/strict';
import type { Chunks } from '../base/chunks.ts';
import type { ChunkingFunction } from './chunking-function.ts';

/**
 * The chunks of a blob of `sizeBytes` bytes that comes in pieces of any size. Holds twice the function's
 * window, 5 MiB with the usual parameters. The source is not asked for its end before the last chunk is
 * taken, so a store that is read from does not evict the blob.
 */
export async function* cutChunks(
  pieces: Chunks,
  sizeBytes: number,
  chunking: ChunkingFunction,
): Chunks {
  const { windowBytes } = chunking;
  const cutter = chunking.createCutter();
  const buffer = Buffer.allocUnsafe(Math.min(2 * windowBytes, sizeBytes));
  let begin = 0;
  let end = 0;
  let leftBytes = sizeBytes;
  for await (const piece of pieces) {
    leftBytes -= piece.length;
    assert(leftBytes >= 0, 'a blob that is read has the size of its digest');
    for (let taken = 0; taken < piece.length;) {
      if (end === buffer.length) {
        buffer.copyWithin(0, begin, end);
        end -= begin;
        begin = 0;
      }
      const part = piece.subarray(taken, taken + buffer.length - end);
      buffer.set(part, end);
      taken += part.length;
      end += part.length;
      const isLast = leftBytes === 0 && taken === piece.length;
      while (end - begin >= (isLast ? 1 : windowBytes)) {
        const window = buffer.subarray(begin, Math.min(end, begin + windowBytes));
        const length = cutter(window);
        begin += length;
        yield Buffer.from(window.subarray(0, length));
      }
    }
  }
  assert(leftBytes === 0, 'a blob that is read to its end has the size of its digest');
}
