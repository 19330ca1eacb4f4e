import { createHash, hash } from 'node:crypto';
import type { Hasher } from './digest-function.ts';

const PAGE_BYTES = 64 * 1024;
const BLOCK_BYTES = 2 * 1024 * 1024;
const SEED = 'VSO Content Identifier Seed';
const ALGORITHM_ID = '00';

/**
 * VSO, BuildXL's paged hash (DIG-15): SHA-256 of the pages makes that of their block, and the blocks'
 * hashes are chained. Holds a few hashes, never bytes.
 */
export class VsoHasher implements Hasher {
  #page = createHash('sha256');
  #pageBytes = 0;
  #block = createHash('sha256');
  #blockBytes = 0;
  #chained: Uint8Array = Buffer.from(SEED);

  update(chunk: Uint8Array): void {
    for (let from = 0; from < chunk.length;) {
      // A full block stays open until it is known not to be the last one.
      if (this.#blockBytes === BLOCK_BYTES) this.#endBlock({ isLast: false });
      const piece = chunk.subarray(from, from + PAGE_BYTES - this.#pageBytes);
      this.#page.update(piece);
      this.#pageBytes += piece.length;
      this.#blockBytes += piece.length;
      if (this.#pageBytes === PAGE_BYTES) this.#endPage();
      from += piece.length;
    }
  }

  digest(): string {
    if (this.#pageBytes > 0) this.#endPage();
    this.#endBlock({ isLast: true });
    return Buffer.from(this.#chained).toString('hex') + ALGORITHM_ID;
  }

  #endPage(): void {
    this.#block.update(this.#page.digest());
    this.#page = createHash('sha256');
    this.#pageBytes = 0;
  }

  #endBlock({ isLast }: { isLast: boolean }): void {
    const block = this.#block.digest();
    const end = Uint8Array.of(isLast ? 1 : 0);
    this.#chained = hash('sha256', Buffer.concat([this.#chained, block, end]), 'buffer');
    this.#block = createHash('sha256');
    this.#blockBytes = 0;
  }
}
