import type { Chunks } from '../base/chunks.ts';
import type { Clock } from '../base/clock.ts';
import type { NewId } from '../base/id.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import { type Address, formatAddress } from '../config/address.ts';
import type { WorkerConfig } from '../config/worker-config.ts';
import { uploadChunkingOf } from '../rpc/stubs/announced-chunking.ts';
import { type Channel, connectChannel } from '../rpc/stubs/channel.ts';
import { remoteBlobStore } from '../rpc/stubs/remote-blob-store.ts';
import {
  blobLimitsOf,
  fetchCapabilities,
  transferCodecsOf,
} from '../rpc/stubs/remote-capabilities.ts';
import { RemoteLogStreams } from '../rpc/stubs/remote-log-streams.ts';
import { remoteWorkQueue } from '../rpc/stubs/remote-work-queue.ts';
import { patientRetries } from './patient-retries.ts';
import type { WorkerPorts } from './worker.ts';

/** A worker whose line is dead must be back before the scheduler takes it for lost, after 30 s. */
const keepalive = { everyMs: 10_000, timeoutMs: 8_000 };

/** The servers of a worker that runs elsewhere. Nothing is sent before it is needed. */
export function remotePorts(
  config: WorkerConfig,
  { clock, newId }: { readonly clock: Clock; readonly newId: NewId },
  closing: AsyncDisposableStack,
): WorkerPorts {
  const open = (address: Address) => {
    const options = { retries: patientRetries(clock), invocationId: newId(), keepalive };
    const channel = connectChannel(formatAddress(address), options);
    closing.defer(() => channel.close());
    return channel;
  };
  const server = open(config.server);
  const isOne = formatAddress(config.server) === formatAddress(config.cas);
  const cas = isOne ? server : open(config.cas);
  const stores = new Map<string, BlobStore>();
  const blobsOf = (instanceName: string) => {
    const openNow = (signal: AbortSignal) => openBlobs(cas, instanceName, config, newId, signal);
    const known = stores.get(instanceName) ?? whenUsed(openNow);
    stores.set(instanceName, known);
    return known;
  };
  return {
    server: formatAddress(config.server),
    queue: remoteWorkQueue(server),
    blobsOf,
    logs: new RemoteLogStreams(server),
  };
}

/** The blobs of an instance, once the server has said how they may be moved. */
async function openBlobs(
  channel: Channel,
  instanceName: string,
  { compression, chunking }: WorkerConfig,
  newId: NewId,
  signal: AbortSignal,
): Promise<BlobStore> {
  const capabilities = await fetchCapabilities(channel, instanceName, signal);
  const limits = blobLimitsOf(capabilities);
  const codecs = transferCodecsOf(capabilities, compression);
  const uploadChunking = uploadChunkingOf(capabilities, chunking);
  return remoteBlobStore({ channel, instanceName, limits, codecs, uploadChunking }, newId);
}

/** A store that is opened with its first use. */
function whenUsed(openStore: (signal: AbortSignal) => Promise<BlobStore>): BlobStore {
  let opened: BlobStore | undefined;
  const open = async (signal: AbortSignal) => {
    if (opened) return opened;
    const store = await openStore(signal);
    // Another call may have been faster: small blobs are gathered by one store only.
    opened ??= store;
    return opened;
  };
  return {
    findMissing: async (digests, signal) => (await open(signal)).findMissing(digests, signal),
    read: async function* read(digest, offset, signal): Chunks {
      yield* (await open(signal)).read(digest, offset, signal);
    },
    write: async (digest, chunks, signal) => (await open(signal)).write(digest, chunks, signal),
  };
}
