import type { ActionCache } from '../action-cache/action-cache.ts';
import type { Clock } from '../base/clock.ts';
import type { NewId } from '../base/id.ts';
import { random } from '../base/random.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import { type Address, formatAddress } from '../config/address.ts';
import type { Execution } from '../execution/execution.ts';
import type { LogStreams } from '../logs/log-streams.ts';
import type { ServerCapabilities } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { uploadChunkingOf, type WantedChunking } from '../rpc/stubs/announced-chunking.ts';
import { type Channel, connectChannel } from '../rpc/stubs/channel.ts';
import { RemoteAdmin } from '../rpc/stubs/remote-admin.ts';
import { RemoteActionCache } from '../rpc/stubs/remote-action-cache.ts';
import { remoteBlobStore } from '../rpc/stubs/remote-blob-store.ts';
import {
  blobLimitsOf,
  fetchCapabilities,
  transferCodecsOf,
  type WantedCompression,
} from '../rpc/stubs/remote-capabilities.ts';
import { RemoteExecution } from '../rpc/stubs/remote-execution.ts';
import { RemoteLogStreams } from '../rpc/stubs/remote-log-streams.ts';
import { defaultRetryOptions, type RetryPolicy } from '../rpc/stubs/retries.ts';
import { patientRetries } from './patient-retries.ts';

/** One instance of a server, as the client commands see it. */
export interface Remote extends Disposable {
  readonly capabilities: ServerCapabilities;
  readonly blobs: BlobStore;
  readonly actions: ActionCache;
  readonly execution: Execution;
  readonly logs: LogStreams;
  readonly admin: RemoteAdmin;
  /** Resolves when the server has answered a call that asks nobody else. */
  ping(signal: AbortSignal): Promise<void>;
}

export interface RemoteOptions {
  readonly address: Address;
  readonly instanceName: string;
  readonly compression: WantedCompression;
  readonly chunking: WantedChunking;
}

/**
 * Connects, and asks what the server can do (CLI-01). UNAVAILABLE, soon, when there is none; once there
 * was one, its restart is waited for.
 */
export async function connectRemote(
  { address, instanceName, compression, chunking }: RemoteOptions,
  { clock, newId }: { readonly clock: Clock; readonly newId: NewId },
  signal: AbortSignal,
): Promise<Remote> {
  const channel = connectChannel(formatAddress(address), {
    retries: { ...defaultRetryOptions, clock, random },
    invocationId: newId(),
  });
  try {
    const capabilities = await fetchCapabilities(channel, instanceName, signal);
    const patient = withRetries(channel, patientRetries(clock));
    const limits = blobLimitsOf(capabilities);
    const codecs = transferCodecsOf(capabilities, compression);
    const uploadChunking = uploadChunkingOf(capabilities, chunking);
    const remote = { channel: patient, instanceName, limits, codecs, uploadChunking };
    return {
      capabilities,
      blobs: remoteBlobStore(remote, newId),
      actions: new RemoteActionCache(patient, instanceName),
      execution: new RemoteExecution(patient, instanceName),
      logs: new RemoteLogStreams(channel),
      admin: new RemoteAdmin(channel),
      ping: async (pinging) => void (await fetchCapabilities(channel, instanceName, pinging)),
      [Symbol.dispose]: () => channel.close(),
    };
  } catch (thrown) {
    channel.close();
    throw thrown;
  }
}

/** The same connection, for calls that are repeated otherwise. */
function withRetries(channel: Channel, retries: RetryPolicy): Channel {
  return {
    retries,
    unary: (rpc, request, options) => channel.unary(rpc, request, options),
    serverStream: (rpc, request, options) => channel.serverStream(rpc, request, options),
    clientStream: (rpc, requests, options) => channel.clientStream(rpc, requests, options),
    bidi: (rpc, requests, options) => channel.bidi(rpc, requests, options),
    close: () => channel.close(),
  };
}
