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
