import type { Argv } from 'yargs';
import {
  ChunkingFunction_Value,
  Compressor_Value,
  DigestFunction_Value,
  type ServerCapabilities,
  SymlinkAbsolutePathStrategy_Value,
} from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Program } from './command.ts';
import { ExitCode } from './exit-codes.ts';
import { formatSize } from './progress.ts';
import { type ServerFlags, serverFlags, openSession, settingsOf } from './session.ts';

export interface CapabilitiesOptions extends ServerFlags {
  readonly json: boolean;
}

export const capabilitiesCommand = {
  command: 'capabilities',
  describe: 'Show what the server can do',
  flags: (yargs: Argv) =>
    serverFlags(yargs)
      .option('json', { type: 'boolean', default: false, describe: 'Print one JSON object' })
      .example('$0 capabilities --json', 'For scripts'),
};

export async function capabilities(
  program: Program,
  options: CapabilitiesOptions,
): Promise<number> {
  using session = await openSession(program, settingsOf(program, options), { execution: false });
  const shown = describe(session.remote.capabilities);
  if (options.json) {
    program.terminal.out(JSON.stringify(shown, undefined, 2));
    return ExitCode.OK;
  }
  for (const [name, value] of Object.entries(shown)) {
    const text = Array.isArray(value) ? value.join(', ') || 'none' : String(value);
    const asSize = name.endsWith('Bytes') ? ` (${value === 0 ? 'unlimited' : size(value)})` : '';
    program.terminal.out(`${name.padEnd(26)}${text}${asSize}`);
  }
  return ExitCode.OK;
}

const size = (value: unknown) => formatSize(Number(value));

function describe({ lowApiVersion, highApiVersion, ...server }: ServerCapabilities) {
  const cache = server.cacheCapabilities;
  const execution = server.executionCapabilities;
  const { digestFunctions: functions = [], digestFunction } = execution ?? {};
  return {
    apiVersions: [lowApiVersion, highApiVersion].map((version) =>
      version ? `${version.major}.${version.minor}` : 'unknown',
    ),
    digestFunctions: names(DigestFunction_Value, cache?.digestFunctions ?? []),
    compressors: names(Compressor_Value, cache?.supportedCompressors ?? []),
    splitBlob: cache?.splitBlobSupport ?? false,
    spliceBlob: cache?.spliceBlobSupport ?? false,
    chunkingFunctions: names(ChunkingFunction_Value, chunkingFunctionsOf(cache)),
    maxBatchTotalSizeBytes: cache?.maxBatchTotalSizeBytes ?? 0,
    maxCasBlobSizeBytes: cache?.maxCasBlobSizeBytes ?? 0,
    actionCacheUpdates: cache?.actionCacheUpdateCapabilities?.updateEnabled ?? false,
    absoluteSymlinks: names(SymlinkAbsolutePathStrategy_Value, [
      cache?.symlinkAbsolutePathStrategy ?? 0,
    ]).join(),
    execution: execution?.execEnabled ?? false,
    executionDigestFunctions: names(
      DigestFunction_Value,
      functions.length === 0 && digestFunction !== undefined ? [digestFunction] : functions,
    ),
    executionPriorities: (execution?.executionPriorityCapabilities?.priorities ?? []).map(
      ({ minPriority, maxPriority }) => `${minPriority}..${maxPriority}`,
    ),
  };
}

/** Those that have parameters (CAP-17). */
function chunkingFunctionsOf(cache: ServerCapabilities['cacheCapabilities']): number[] {
  const { FAST_CDC_2020, REP_MAX_CDC } = ChunkingFunction_Value;
  return [
    ...(cache?.fastCdc2020Params ? [FAST_CDC_2020] : []),
    ...(cache?.repMaxCdcParams ? [REP_MAX_CDC] : []),
  ];
}

/** The API's names of an enumeration's values; a number that has none stays a number. */
function names(all: Readonly<Record<string, number>>, values: readonly number[]): string[] {
  const byValue = new Map(Object.entries(all).map(([name, value]) => [value, name]));
  return values.map((value) => byValue.get(value) ?? String(value));
}
