import type { ActionCache } from '../action-cache/action-cache.ts';
import type { BlobStore } from '../cas/blob-store.ts';
import type { Address } from '../config/address.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import type { Execution } from '../execution/execution.ts';
import type { ServerCapabilities } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';

/** One instance of a server, as the client commands see it. */
export interface Remote {
  readonly blobs: BlobStore;
  readonly actions: ActionCache;
  readonly execution: Execution;
  capabilities(signal: AbortSignal): Promise<ServerCapabilities>;
  close(): void;
}

export interface RemoteOptions {
  readonly address: Address;
  readonly instanceName: string;
  readonly digestFunction: DigestFunction;
}

/** Makes a Remote; nothing is sent before its first use. */
export type Connect = (options: RemoteOptions) => Promise<Remote>;
