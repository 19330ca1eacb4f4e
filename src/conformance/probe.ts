import type { DigestFunction } from '../digest/digest-function.ts';
import type { Compressor } from '../digest/resource-name.ts';
import type {
  CacheCapabilities,
  ExecutionCapabilities,
  ServerCapabilities,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Api } from './api.ts';

/** What is known of the server before any probe runs. */
export interface Tested {
  readonly instanceName: string;
  readonly capabilities: ServerCapabilities;
  /** All at their defaults when the server has no cache. */
  readonly cache: CacheCapabilities;
  readonly execution: ExecutionCapabilities | undefined;
  /** The one that probes use when it does not matter. */
  readonly digestFunction: DigestFunction;
  /** Those announced that this program can compute. */
  readonly digestFunctions: readonly DigestFunction[];
  /** Announced for ByteStream, in the server's order; identity is not among them. */
  readonly compressors: readonly Compressor[];
  /** Announced for BatchUpdateBlobs, identity left out. */
  readonly batchCompressors: readonly Compressor[];
  /** What a batch may hold; 4 MiB less some room when the server names no limit. */
  readonly batchBytesMax: number;
  /** Whether the person allows a tiny action to run. */
  readonly mayExecute: boolean;
  /** What a worker must have to run it. */
  readonly platform: readonly { readonly name: string; readonly value: string }[];
}

/** Why a probe asks nothing of this server, or undefined when it does. */
export type Need = (tested: Tested) => string | undefined;

/** One question to a server, whose answer shows that it keeps some rules, or breaks one of them. */
export interface Probe {
  /** Of the checklist; a server that keeps them all passes. */
  readonly ids: readonly string[];
  /** What a server does that keeps them, in a line. */
  readonly title: string;
  readonly needs?: readonly Need[];
  /** Fails with a Failure, or with the status of a call that should have succeeded. */
  readonly run: (api: Api) => Promise<void>;
}

/** Probes that belong together. */
export interface Area {
  readonly name: string;
  readonly needs: readonly Need[];
  /** How long a server may take to say anything, where that is longer than elsewhere. */
  readonly silenceMs?: number;
  /** Comes before the first of them that applies; when this does not apply, none of them does. */
  readonly prepare?: Probe['run'];
  readonly probes: readonly Probe[];
}
