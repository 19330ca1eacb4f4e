import { Code } from '../base/status.ts';
import { OriginFailure } from './origin-failure.ts';

/** What one download takes of the room. */
export interface RoomShare {
  readonly bytes: number;
  /**
   * Fails with RESOURCE_EXHAUSTED, told in the response, when there is no room for as much. Once the download is
   * over, a look at its size that comes late takes nothing.
   */
  growTo(bytes: number): void;
  /** The download is over, and nothing of it left. */
  end(): void;
}

/**
 * The disk that all downloads under way may take together. One of endless files, or many large ones, would
 * else fill the disk that blobs are on as well.
 */
export class DownloadRoom {
  readonly #sizeBytesMax: number;
  #takenBytes = 0;

  constructor(sizeBytesMax: number) {
    this.#sizeBytesMax = sizeBytesMax;
  }

  share(): RoomShare {
    let taken = 0;
    let isOver = false;
    const take = (bytes: number) => {
      this.#takenBytes += bytes - taken;
      taken = bytes;
    };
    return {
      get bytes() {
        return taken;
      },
      growTo: (bytes) => {
        if (isOver) return;
        if (this.#takenBytes - taken + bytes > this.#sizeBytesMax) throw noRoom(this.#sizeBytesMax);
        take(bytes);
      },
      end: () => {
        isOver = true;
        take(0);
      },
    };
  }
}

function noRoom(sizeBytesMax: number): OriginFailure {
  return new OriginFailure(
    Code.RESOURCE_EXHAUSTED,
    `what is being fetched now has more than ${sizeBytesMax} bytes together, the limit of this server ` +
      '(four times remote_asset.max_fetch_size); try again later',
  );
}
