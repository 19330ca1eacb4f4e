import {
  type Compressor_Value,
  GetCapabilitiesRequest,
  ServerCapabilities,
} from '../../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { type Codec, codecOfName } from '../compression.ts';
import type { Channel, Rpc } from './channel.ts';
import { withRetries } from './retries.ts';

/** What an instance takes in one request; see `blobLimitsOf`. */
export interface BlobLimits {
  /** The bytes of all blobs of one batch. */
  readonly batchSizeBytesMax: number;
  /** The bytes of one blob; Infinity when the server names no limit. */
  readonly blobSizeBytesMax: number;
}

/** How blobs are packed on their way; undefined stands for "not at all". */
export interface TransferCodecs {
  /** By ByteStream; also what batches that are read may be packed in, which nothing else announces. */
  readonly streams: Codec | undefined;
  /** In batches that are written. */
  readonly batches: Codec | undefined;
}

/** It asks nobody: a server that is just starting, or busy, answers in this time. */
const DEADLINE_MS = 30_000;

/** What fits into the 4 MiB that every gRPC implementation takes, less room for digests (CLI-03). */
const BATCH_BYTES_WHEN_UNKNOWN = 4 * 2 ** 20 - 64 * 2 ** 10;

const rpc: Rpc<GetCapabilitiesRequest, ServerCapabilities> = {
  path: '/build.bazel.remote.execution.v2.Capabilities/GetCapabilities',
  request: GetCapabilitiesRequest,
  response: ServerCapabilities,
};

/** What an instance of the server can do; INVALID_ARGUMENT when there is none of that name. */
export function fetchCapabilities(
  channel: Channel,
  instanceName: string,
  signal: AbortSignal,
): Promise<ServerCapabilities> {
  const request = GetCapabilitiesRequest.fromPartial({ instanceName });
  const attempt = () => channel.unary(rpc, request, { signal, deadlineMs: DEADLINE_MS });
  return withRetries(channel.retries, attempt, signal);
}

/** The server's limits; 0 stands for "unknown" in a batch, and for "none" in one blob (CLI-03). */
export function blobLimitsOf({ cacheCapabilities }: ServerCapabilities): BlobLimits {
  const batch = cacheCapabilities?.maxBatchTotalSizeBytes ?? 0;
  const blob = cacheCapabilities?.maxCasBlobSizeBytes ?? 0;
  return {
    batchSizeBytesMax:
      batch > 0 ? Math.min(batch, BATCH_BYTES_WHEN_UNKNOWN) : BATCH_BYTES_WHEN_UNKNOWN,
    blobSizeBytesMax: blob > 0 ? blob : Infinity,
  };
}

/** What compression the configuration asks for. */
export type WantedCompression = 'off' | 'zstd';

/** What is both wanted and announced, for streams and for batches by themselves (CLI-02, CMP-02). */
export function transferCodecsOf(
  { cacheCapabilities }: ServerCapabilities,
  wanted: WantedCompression,
): TransferCodecs {
  const codec = wanted === 'off' ? undefined : codecOfName(wanted);
  const ifIn = (announced: readonly Compressor_Value[] = []) =>
    codec && announced.includes(codec.value) ? codec : undefined;
  return {
    streams: ifIn(cacheCapabilities?.supportedCompressors),
    batches: ifIn(cacheCapabilities?.supportedBatchUpdateCompressors),
  };
}
