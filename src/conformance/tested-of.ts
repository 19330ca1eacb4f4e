import { Code, StatusError } from '../base/status.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import { allDigestFunctions, sha256 } from '../digest/digest-functions.ts';
import type { Compressor } from '../digest/resource-name.ts';
import {
  CacheCapabilities,
  Compressor_Value,
  type ServerCapabilities,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Tested } from './probe.ts';
import { rpcs } from './rpcs.ts';
import type { Wire } from './wire.ts';

export interface TestedOptions {
  readonly instanceName: string;
  /** Wanted, if the server announces it. */
  readonly digestFunction: DigestFunction;
  readonly mayExecute: boolean;
  readonly platform: Tested['platform'];
}

/** For a server that names no limit: what fits into the usual 4 MiB, with room for digests (CAP-12). */
const BATCH_BYTES_WHEN_UNKNOWN = 4 * 2 ** 20 - 64 * 2 ** 10;

const FIRST_ANSWER_DEADLINE_MS = 10_000;

const compressorNames: ReadonlyMap<number, Compressor> = new Map([
  [Compressor_Value.ZSTD, 'zstd'],
  [Compressor_Value.DEFLATE, 'deflate'],
  [Compressor_Value.BROTLI, 'brotli'],
]);

/** Asks what the server can do, which is all that probes rely on. */
export async function testedOf(
  wire: Wire,
  options: TestedOptions,
  signal: AbortSignal,
): Promise<Tested> {
  const capabilities = await fetchCapabilities(wire, options.instanceName, signal);
  const cache = capabilities.cacheCapabilities ?? CacheCapabilities.create();
  const digestFunctions = allDigestFunctions.filter(({ value }) =>
    cache.digestFunctions.includes(value),
  );
  const wanted = [options.digestFunction, ...digestFunctions];
  const compressors = named(cache.supportedCompressors);
  return {
    ...options,
    capabilities,
    cache,
    execution: capabilities.executionCapabilities,
    digestFunction: wanted.find((one) => digestFunctions.includes(one)) ?? sha256,
    digestFunctions,
    compressors,
    batchCompressors: named(cache.supportedBatchUpdateCompressors),
    batchBytesMax: cache.maxBatchTotalSizeBytes || BATCH_BYTES_WHEN_UNKNOWN,
  };
}

/** GetCapabilities with nothing around it. */
export async function fetchCapabilities(
  wire: Wire,
  instanceName: string,
  signal: AbortSignal,
): Promise<ServerCapabilities> {
  const { path, request, response } = rpcs.getCapabilities;
  const bytes = request.encode(request.fromPartial({ instanceName })).finish();
  const deadlineMs = FIRST_ANSWER_DEADLINE_MS;
  for await (const answer of wire(path, once(bytes), { signal, deadlineMs })) {
    return response.decode(answer);
  }
  throw new StatusError(Code.INTERNAL, `${path} ended without an answer`);
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}

function named(values: readonly Compressor_Value[]): Compressor[] {
  return values.flatMap((value) => compressorNames.get(value) ?? []);
}
