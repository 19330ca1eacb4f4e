import assert from 'node:assert/strict';
import type { Chunks } from '../../src/base/chunks.ts';

/** A source that has nothing to say and never ends: a client that stays silent. */
// oxlint-disable-next-line require-yield -- that is its nature
export async function* hanging(): Chunks {
  await new Promise<never>(() => {});
}

/** A source that fails the test when it is asked for bytes. */
export async function* untouched(): Chunks {
  yield assert.fail('it was read');
}

/** A source that never stops sending. */
export async function* endless(): Chunks {
  for (;;) yield Buffer.alloc(1000);
}

/** The pieces, one chunk each. */
export async function* piecesOf(...pieces: readonly (string | Uint8Array)[]): Chunks {
  for (const piece of pieces) yield Buffer.from(piece);
}

/** A source that a test feeds: `push` resolves when the chunk was taken and the next is asked for. */
export function gatedChunks() {
  let asked = Promise.withResolvers<void>();
  let next = Promise.withResolvers<Uint8Array | undefined>();
  const give = async (chunk: Uint8Array | undefined) => {
    await asked.promise;
    asked = Promise.withResolvers<void>();
    next.resolve(chunk);
  };
  const chunks = async function* (): Chunks {
    for (;;) {
      next = Promise.withResolvers();
      asked.resolve();
      const chunk = await next.promise;
      if (!chunk) return;
      yield chunk;
    }
  };
  return {
    chunks: chunks(),
    push: async (chunk: Uint8Array) => {
      await give(chunk);
      await asked.promise;
    },
    end: () => void give(undefined),
  };
}
