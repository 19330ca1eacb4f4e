import { heapBytesMax } from '../base/memory.ts';
import { Code, StatusError } from '../base/status.ts';
import type { Digest } from '../digest/digest.ts';
import { defaultTreeLimits, type TreeLimits } from '../tree/walk-directories.ts';

/** What a client may cost the server, one connection or call at a time. */
export interface ServerLimits {
  /** The largest message taken from a client. */
  readonly requestBytesMax: number;
  /** What the messages of all calls may hold together before they are complete. */
  readonly incompleteBytesMax: number;
  /** How long a client may take nothing of an answer that waits for it. */
  readonly unreadTimeoutMs: number;
  /** Calls that one connection may have open at once. */
  readonly concurrentCallsMax: number;
  /** Bytes that a client may send on one stream before the server has taken them. */
  readonly streamWindowBytes: number;
  /** The same for all streams of one connection together. */
  readonly connectionWindowBytes: number;
  /** Connections open at once; more are closed as they come. */
  readonly connectionsMax: number;
  /** Calls that one connection may cancel at once; more close it (CVE-2023-44487). */
  readonly cancelledCallsMax: number;
  /** What comes to that again each second. */
  readonly cancelledCallsPerSecond: number;
  /** How long a connection may be silent before the server asks whether the client is still there. */
  readonly keepaliveTimeMs: number;
  /** How long the client may take to answer that. */
  readonly keepaliveTimeoutMs: number;
}

export const defaultServerLimits: ServerLimits = {
  // Siso asks for the blobs of a whole input tree in one FindMissingBlobs (GEN-08, SIS-03): 32 MiB
  // are some 400,000 digests.
  requestBytesMax: 32 * 2 ** 20,
  // Beside the heap, so a part of it is only a measure of the machine: 500 MiB of the usual 4 GiB, a thousand
  // batches that are half sent. On small ones two of the largest messages.
  incompleteBytesMax: Math.max(64 * 2 ** 20, Math.floor(heapBytesMax / 8)),
  // As for uploads on which nothing comes: 7 KB/s take a message of 4 MiB in it.
  unreadTimeoutMs: 600_000,
  // Execute streams stay open for as long as actions wait; a client puts hundreds on a connection
  // (GEN-14).
  concurrentCallsMax: 1000,
  // HTTP/2's own 64 KiB stall an upload once per round trip: uploads were several times slower.
  streamWindowBytes: 8 * 2 ** 20,
  // Several streams, so that one that the server is slow to take does not stop the others.
  connectionWindowBytes: 32 * 2 ** 20,
  // A thousand build hosts and workers with some connections each; one costs some 50 KiB.
  connectionsMax: 10_000,
  // Clients cancel what another machine was faster with, what was answered before they had sent all (BS-40),
  // and all that runs when a build ends. HTTP/2 libraries close a connection after 1000, and 33 a second.
  cancelledCallsMax: 10_000,
  // A connection that cancels as many costs no more than one that makes as many calls.
  cancelledCallsPerSecond: 1000,
  // A client that is gone without a word is noticed within 40 s (SC-28): its actions are nobody's then.
  keepaliveTimeMs: 20_000,
  keepaliveTimeoutMs: 15_000,
};

/** What one request may ask of an instance. */
export interface InstanceLimits {
  /** Announced as max_batch_total_size_bytes: the bytes of blobs in one batch (CAP-11). */
  readonly batchBytesMax: number;
  /** Announced as max_cas_blob_size_bytes: larger blobs are refused (CAP-15). */
  readonly blobBytesMax: number;
  /** What one GetTree may walk. */
  readonly tree: TreeLimits;
}

export const defaultInstanceLimits: InstanceLimits = {
  // Half a MiB below what clients accept in a message, for the digests of some 6,000 blobs (CAP-12).
  batchBytesMax: 3.5 * 2 ** 20,
  // More than any build output seen; a bound so that nobody fills the disk by one upload.
  blobBytesMax: 64 * 2 ** 30,
  tree: defaultTreeLimits,
};

/**
 * The limits of an instance whose blobs may take `storeBytesMax`: one that could never be stored is
 * refused for good, which RESOURCE_EXHAUSTED would not say (ERR-03).
 */
export function instanceLimitsFor(storeBytesMax: number): InstanceLimits {
  const { blobBytesMax } = defaultInstanceLimits;
  return {
    ...defaultInstanceLimits,
    blobBytesMax: Math.max(1, Math.min(blobBytesMax, storeBytesMax - STORE_OVERHEAD_BYTES)),
  };
}

/** What a store takes for a blob beside its bytes, at most: the rest of its last block. */
const STORE_OVERHEAD_BYTES = 4096;

/**
 * What clients accept in one message unless told otherwise, so no response is larger (GEN-09) but that of
 * FindMissingBlobs, which is never longer than its request: see docs/decisions/0010.
 */
export const RESPONSE_BYTES_MAX = 4 * 2 ** 20;

/** Refuses the upload of a blob that is larger than announced, before its first byte (BS-43). */
export function checkBlobSize(digest: Digest, { blobBytesMax }: InstanceLimits): void {
  if (digest.sizeBytes <= blobBytesMax) return;
  throw new StatusError(
    Code.INVALID_ARGUMENT,
    `blob ${digest} is larger than max_cas_blob_size_bytes, which is ${blobBytesMax}`,
  );
}
