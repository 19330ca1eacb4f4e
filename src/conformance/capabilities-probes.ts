import { Code } from '../base/status.ts';
import { DigestFunction_Value } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { expectSame, expectThat, NotApplicable } from './expect.ts';
import { aCache, execution } from './needs.ts';
import type { Area } from './probe.ts';
import { rpcs } from './rpcs.ts';

/** What every client's library takes in one message. */
const MESSAGE_BYTES_MAX = 4 * 2 ** 20;

/** How long a client may wait for the first answer of all (CAP-03). */
const FIRST_ANSWER_MS = 1000;

export const capabilitiesProbes: Area = {
  name: 'capabilities',
  needs: [],
  probes: [
    {
      ids: ['CAP-02'],
      title: 'cache_capabilities are announced exactly where there is a cache',
      run: async (api) => {
        const code = await codeOf(api.one(rpcs.findMissing, {}));
        const isAnnounced = api.tested.capabilities.cacheCapabilities !== undefined;
        const what = isAnnounced ? 'FindMissingBlobs to be offered' : 'no FindMissingBlobs';
        expectThat((code === Code.OK) === isAnnounced, what, `code ${code}`);
      },
    },
    {
      ids: ['CAP-02'],
      title: 'execution_capabilities are announced exactly where there is execution',
      run: async (api) => {
        const code = await codeOf(api.all(rpcs.execute, {}));
        const isAnnounced = api.tested.execution !== undefined;
        const what = isAnnounced ? 'Execute to be offered' : 'no Execute';
        const isOffered = code !== Code.UNIMPLEMENTED && code !== Code.PERMISSION_DENIED;
        expectThat(isOffered === isAnnounced, what, `code ${code} for an empty request`);
      },
    },
    {
      ids: ['CAP-03'],
      title: `capabilities come within ${FIRST_ANSWER_MS} ms`,
      run: async (api) => {
        const startedAt = performance.now();
        await api.one(rpcs.getCapabilities, {});
        const ms = Math.round(performance.now() - startedAt);
        expectThat(ms < FIRST_ANSWER_MS, `less than ${FIRST_ANSWER_MS} ms`, `${ms} ms`);
      },
    },
    {
      ids: ['CAP-04'],
      title: 'the range of versions is a range',
      run: async ({ tested: { capabilities } }) => {
        const { lowApiVersion, highApiVersion, deprecatedApiVersion } = capabilities;
        const known = [deprecatedApiVersion, lowApiVersion, highApiVersion].filter(Boolean);
        expectThat(
          lowApiVersion !== undefined && highApiVersion !== undefined,
          'low_api_version and high_api_version',
          known,
        );
        const numbers = known.map((version) => orderOf(version));
        const sorted = numbers.toSorted((a, b) => a - b);
        expectSame(numbers, sorted, 'deprecated, lowest and highest version in this order');
      },
    },
    {
      ids: ['CAP-05'],
      title: 'the lowest version is 2.0.0, which old Bazels need',
      run: async ({ tested: { capabilities } }) => {
        const { lowApiVersion: low, deprecatedApiVersion: deprecated } = capabilities;
        const isOld = [low, deprecated].some((version) => version && orderOf(version) === 2e6);
        expectThat(isOld, 'a low_api_version or deprecated_api_version of 2.0.0', low);
      },
    },
    {
      ids: ['CAP-07'],
      title: 'no version is a prerelease',
      run: async ({ tested: { capabilities } }) => {
        const { lowApiVersion, highApiVersion, deprecatedApiVersion } = capabilities;
        for (const version of [lowApiVersion, highApiVersion, deprecatedApiVersion]) {
          expectSame(version?.prerelease ?? '', '', 'prerelease');
        }
      },
    },
    {
      ids: ['CAP-08', 'DIG-18'],
      title: 'digest functions are announced, none twice, and not UNKNOWN',
      needs: [aCache],
      run: async ({ tested: { cache } }) => {
        const { digestFunctions } = cache;
        expectThat(digestFunctions.length > 0, 'at least one digest function', digestFunctions);
        expectThat(!digestFunctions.includes(0), 'no UNKNOWN', digestFunctions);
        const isSet = new Set(digestFunctions).size === digestFunctions.length;
        expectThat(isSet, 'none twice', digestFunctions);
      },
    },
    {
      ids: ['DIG-16'],
      title: 'MURMUR3 is not announced',
      needs: [aCache],
      run: async ({ tested: { cache } }) => {
        const { digestFunctions } = cache;
        expectThat(!digestFunctions.includes(7), 'no MURMUR3', digestFunctions);
      },
    },
    {
      ids: ['CAP-12'],
      title: 'a batch fits into the 4 MiB that every client takes',
      needs: [aCache],
      run: async ({ tested: { cache } }) => {
        const { maxBatchTotalSizeBytes: max } = cache;
        const isUsual = max > 0 && max <= MESSAGE_BYTES_MAX;
        expectThat(isUsual, 'max_batch_total_size_bytes from 1 to 4194304', max);
      },
    },
    {
      ids: ['CAP-13'],
      title: 'absolute symlinks are ALLOWED or DISALLOWED',
      needs: [aCache],
      run: async ({ tested: { cache } }) => {
        const { symlinkAbsolutePathStrategy: strategy } = cache;
        expectThat(strategy === 1 || strategy === 2, 'DISALLOWED (1) or ALLOWED (2)', strategy);
      },
    },
    {
      ids: ['CMP-01', 'CMP-11', 'CAP-14'],
      title: 'ZSTD is the first compressor, and IDENTITY is none',
      needs: [aCache],
      run: async ({ tested: { cache } }) => {
        const { supportedCompressors: listed } = cache;
        if (listed.length === 0) throw new NotApplicable('no compressor is announced');
        expectThat(!listed.includes(0), 'IDENTITY not to be listed', listed);
        expectThat(listed[0] === 1, 'ZSTD (1) first', listed);
      },
    },
    {
      ids: ['CAP-10'],
      title: 'the priorities of results are ranges with 0 in them',
      needs: [aCache],
      run: async ({ tested: { cache } }) =>
        checkRanges(cache.cachePriorityCapabilities?.priorities ?? []),
    },
    {
      ids: ['CAP-17', 'CAP-18', 'CDC-27'],
      title: 'the average of FastCDC is a power of two from 1 KiB to 1 MiB',
      run: async ({ tested: { cache } }) => {
        if (!cache.fastCdc2020Params) throw new NotApplicable('FastCDC 2020 is not announced');
        const { avgChunkSizeBytes: average } = cache.fastCdc2020Params;
        const isInside = average >= 1024 && average <= 2 ** 20;
        expectThat(isInside, 'avg_chunk_size_bytes from 1024 to 1048576', average);
        expectThat(Number.isInteger(Math.log2(average)), 'a power of two', average);
      },
    },
    {
      ids: ['CAP-17', 'CAP-19', 'CDC-41'],
      title: 'RepMaxCDC keeps to the bounds that clients take',
      run: async ({ tested: { cache } }) => {
        if (!cache.repMaxCdcParams) throw new NotApplicable('RepMaxCDC is not announced');
        const { minChunkSizeBytes: min, horizonSizeBytes: horizon } = cache.repMaxCdcParams;
        const isTaken = min >= 1024 && min <= 2 ** 20;
        expectThat(isTaken, 'min_chunk_size_bytes from 1 KiB to 1 MiB, as Bazel takes it', min);
        expectThat(horizon >= 0 && horizon <= 8 * 2 ** 20, 'a horizon up to 8 MiB', horizon);
      },
    },
    {
      ids: ['CAP-20'],
      title: 'execution has one digest function for old clients, which is one of all',
      needs: [execution],
      run: async ({ tested: { execution: announced } }) => {
        const { digestFunction: one = 0, digestFunctions: all = [] } = announced ?? {};
        expectThat(one !== DigestFunction_Value.UNKNOWN, 'digest_function to be set', one);
        const isContained = all.length === 0 || all.includes(one);
        expectThat(isContained, `${one} to be one of digest_functions`, all);
      },
    },
    {
      ids: ['CAP-21'],
      title: 'that one is SHA256, where there is SHA256',
      needs: [execution],
      run: async ({ tested: { execution: announced, cache } }) => {
        const { SHA256 } = DigestFunction_Value;
        const all = [...(announced?.digestFunctions ?? []), ...cache.digestFunctions];
        if (!all.includes(SHA256)) throw new NotApplicable('SHA256 is not announced');
        expectSame(announced?.digestFunction, SHA256, 'execution_capabilities.digest_function');
      },
    },
    {
      ids: ['CAP-22'],
      title: 'all digest functions of execution are listed, and are digest functions of the cache',
      needs: [execution],
      run: async ({ tested: { execution: announced, cache } }) => {
        const all = announced?.digestFunctions ?? [];
        expectThat(all.length > 0, 'execution_capabilities.digest_functions', all);
        const strange = all.filter((one) => !cache.digestFunctions.includes(one));
        expectThat(strange.length === 0, 'each to be one of the cache too', strange);
      },
    },
    {
      ids: ['CAP-24'],
      title: 'the priorities of execution are ranges with 0 in them',
      needs: [execution],
      run: async ({ tested: { execution: announced } }) =>
        checkRanges(announced?.executionPriorityCapabilities?.priorities ?? []),
    },
    {
      ids: ['CAP-26'],
      title: 'asked twice, the server announces the same',
      run: async (api) => {
        const request = api.encoded(rpcs.getCapabilities, {});
        const ask = async () => Buffer.concat(await api.raw(rpcs.getCapabilities.path, request));
        const [first, second] = [await ask(), await ask()];
        expectThat(Buffer.compare(first, second) === 0, 'equal bytes', 'other bytes');
      },
    },
  ],
};

interface Version {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
}

function orderOf(version: Version | undefined): number {
  return version ? version.major * 1e6 + version.minor * 1e3 + version.patch : 0;
}

interface Range {
  readonly minPriority: number;
  readonly maxPriority: number;
}

function checkRanges(ranges: readonly Range[]): void {
  if (ranges.length === 0) throw new NotApplicable('no priorities are announced');
  for (const { minPriority, maxPriority } of ranges) {
    expectThat(minPriority <= maxPriority, 'the least priority first', ranges);
  }
  const hasDefault = ranges.some(({ minPriority: min, maxPriority: max }) => min <= 0 && max >= 0);
  expectThat(hasDefault, 'a range with 0, the default', ranges);
}

async function codeOf(call: Promise<unknown>): Promise<number> {
  try {
    await call;
    return Code.OK;
  } catch (thrown) {
    return (thrown as { readonly code: number }).code;
  }
}
