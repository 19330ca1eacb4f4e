/** What the transport sends best. */
const pieceBytesMax = 2 ** 20;

/** Smaller ones take much more processor time for each of their bytes. */
const pieceBytesMin = 128 * 1024;

/** What the pieces of all reads may have together at full size. On its way each is held three times (measured). */
const sharedBytes = 32 * 2 ** 20;

/**
 * How large the pieces are that blobs are read in: the more reads there are, the smaller. A reader that does
 * not take what it asked for holds its piece, and one client may have a thousand of them on a connection.
 */
export class PieceSizes {
  #reads = 0;

  /** A read begins; the function says that it has ended. */
  begin(): () => void {
    this.#reads++;
    return () => void this.#reads--;
  }

  /** What the next piece of each of them may have. */
  get bytes(): number {
    const share = Math.floor(sharedBytes / Math.max(1, this.#reads));
    return Math.max(pieceBytesMin, Math.min(pieceBytesMax, share));
  }
}
