import { hash } from 'node:crypto';
import type { Hasher } from './digest-function.ts';
import { hashOfChildren } from './sha256-compression.ts';

const LEAF_BYTES = 1024;

/**
 * SHA256TREE (DIG-13): leaves of 1024 bytes under plain SHA-256, and a binary tree over them whose left
 * side is always the largest full one. Holds a leaf, and one hash for each bit of the leaves' number.
 */
export class Sha256TreeHasher implements Hasher {
  /** Hashes of the full subtrees so far, largest first: one for each 1 bit of `#leaves`. */
  readonly #subtrees: Uint32Array[] = [];
  #leaves = 0;
  readonly #partial = Buffer.allocUnsafe(LEAF_BYTES);
  #partialBytes = 0;

  update(chunk: Uint8Array): void {
    let from = 0;
    if (this.#partialBytes > 0) {
      from = Math.min(LEAF_BYTES - this.#partialBytes, chunk.length);
      this.#keep(chunk.subarray(0, from));
      if (this.#partialBytes < LEAF_BYTES) return;
      this.#partialBytes = 0;
      this.#addLeaf(this.#partial);
    }
    for (; chunk.length - from >= LEAF_BYTES; from += LEAF_BYTES) {
      this.#addLeaf(chunk.subarray(from, from + LEAF_BYTES));
    }
    this.#keep(chunk.subarray(from));
  }

  digest(): string {
    if (this.#partialBytes > 0 || this.#leaves === 0) {
      this.#addLeaf(this.#partial.subarray(0, this.#partialBytes));
    }
    const root = this.#subtrees.reduceRight((right, left) => hashOfChildren(left, right));
    return Array.from(root, (word) => word.toString(16).padStart(8, '0')).join('');
  }

  #keep(bytes: Uint8Array): void {
    this.#partial.set(bytes, this.#partialBytes);
    this.#partialBytes += bytes.length;
  }

  /** Two subtrees of one size become one, as a binary counter carries. */
  #addLeaf(leaf: Uint8Array): void {
    let subtree = wordsOf(hash('sha256', leaf, 'buffer'));
    for (let carry = this.#leaves; carry % 2 === 1; carry = Math.floor(carry / 2)) {
      subtree = hashOfChildren(this.#subtrees.pop() as Uint32Array, subtree);
    }
    this.#subtrees.push(subtree);
    this.#leaves += 1;
  }
}

function wordsOf(bytes: Buffer): Uint32Array {
  return Uint32Array.from({ length: 8 }, (_, index) => bytes.readUInt32BE(index * 4));
}
