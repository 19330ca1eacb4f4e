import type { ChunkingFunction } from '../../chunking/chunking-function.ts';
import type { Digest } from '../../digest/digest.ts';
import type { Channel } from './channel.ts';
import type { BlobLimits, TransferCodecs } from './remote-capabilities.ts';

/** The blobs of one instance behind a server: what each way to reach them must know. */
export interface RemoteBlobs {
  readonly channel: Channel;
  readonly instanceName: string;
  readonly limits: BlobLimits;
  readonly codecs: TransferCodecs;
  /** How large blobs are cut when they are written; undefined: not at all. */
  readonly uploadChunking: ChunkingFunction | undefined;
}

/** How long a call with a message of some MiB may take: 60 s are enough at 1 Mbit/s. */
export const BLOB_CALL_DEADLINE_MS = 60_000;

/** The room that a digest takes in a message, its tags and lengths included. */
export function digestSizeBytes(digest: Digest): number {
  return digest.hash.length + 16;
}

/** The digests by function: one request has one (DIG-09). */
export function byFunction<T>(
  items: readonly T[],
  digestOf: (item: T) => Digest,
): readonly (readonly T[])[] {
  return [...Map.groupBy(items, (item) => digestOf(item).function).values()];
}
