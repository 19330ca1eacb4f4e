import { Code } from '../base/status.ts';
import type { ChunkingFunction } from '../chunking/chunking-function.ts';
import { cutChunks } from '../chunking/cut-chunks.ts';
import { fastCdc2020 } from '../chunking/fast-cdc-2020.ts';
import { repMaxCdc } from '../chunking/rep-max-cdc.ts';
import { Digest } from '../digest/digest.ts';
import { ChunkingFunction_Value } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { type Api, each, piecesOf } from './api.ts';
import { unpacked } from './compressed.ts';
import {
  expectBytes,
  expectRefusal,
  expectSame,
  expectThat,
  NotApplicable,
  withRoom,
} from './expect.ts';
import { aCache, splicing, splitting } from './needs.ts';
import type { Area, Tested } from './probe.ts';
import type { Blob } from './random-blobs.ts';
import { rpcs } from './rpcs.ts';

/** More than the four chunks of 512 KiB that stay whole, with the recommended parameters (CDC-33). */
const LARGE_BYTES = 4 * 2 ** 20;

const { UNKNOWN, FAST_CDC_2020, REP_MAX_CDC } = ChunkingFunction_Value;

const noSplit = (tested: Tested) =>
  splitting(tested) === undefined ? 'split_blob_support is true' : undefined;
const noSplice = (tested: Tested) =>
  splicing(tested) === undefined ? 'splice_blob_support is true' : undefined;

export const chunkingProbes: Area = {
  name: 'split-and-splice',
  needs: [aCache],
  probes: [
    {
      ids: ['CDC-01'],
      title: 'SplitBlob is UNIMPLEMENTED where it is not announced',
      needs: [noSplit],
      run: async (api) => {
        const call = split(api, api.blob().digest);
        await expectRefusal(call, Code.UNIMPLEMENTED, 'SplitBlob');
      },
    },
    {
      ids: ['CDC-24'],
      title: 'SpliceBlob is UNIMPLEMENTED where it is not announced',
      needs: [noSplice],
      run: async (api) => {
        await expectRefusal(splice(api, api.blob(), []), Code.UNIMPLEMENTED, 'SpliceBlob');
      },
    },
    {
      ids: ['CDC-02', 'CDC-03', 'CDC-10', 'CAP-16'],
      title: 'SplitBlob cuts a blob that was only written, and its chunks are there',
      needs: [splitting],
      run: async (api) => {
        const blob = await putLarge(api);
        const { digests } = await split(api, blob.digest);
        expectThat(digests.length > 1, 'several chunks of 4 MiB', digests.length);
        expectSame(await api.missing(...digests), [], 'the chunks that are missing');
        const chunks = await Promise.all(digests.map((one) => api.read(api.readName(one))));
        expectBytes(Buffer.concat(chunks), blob.bytes, 'all chunks together');
      },
    },
    {
      ids: ['CDC-04'],
      title: 'SplitBlob of an absent blob is NOT_FOUND',
      needs: [splitting],
      run: async (api) => {
        const call = split(api, api.blob().digest);
        await expectRefusal(call, Code.NOT_FOUND, 'a blob that nobody uploaded');
      },
    },
    {
      ids: ['CDC-08'],
      title: 'SplitBlob takes any wish for a chunking function, and says which it used',
      needs: [splitting],
      run: async (api) => {
        const blob = await putLarge(api);
        for (const wish of [UNKNOWN, FAST_CDC_2020, REP_MAX_CDC]) {
          const { used } = await split(api, blob.digest, wish);
          expectThat(used !== UNKNOWN, 'the function that was used', 'UNKNOWN');
        }
      },
    },
    {
      ids: ['CDC-09'],
      title: 'cuts depend on the content: one byte in front leaves most chunks as they are',
      needs: [splitting],
      run: async (api) => {
        const blob = await putLarge(api);
        const before = new Set((await split(api, blob.digest)).digests.map(({ key }) => key));
        const longer = api.blobOf(Buffer.concat([Buffer.from('x'), blob.bytes]));
        await api.write(api.writeName(longer.digest), piecesOf(longer.bytes, LARGE_BYTES / 2));
        const after = (await split(api, longer.digest)).digests;
        const same = after.filter(({ key }) => before.has(key)).length;
        expectThat(same * 2 >= after.length - 2, `half of ${after.length} chunks`, same);
      },
    },
    {
      ids: ['CDC-11'],
      title: 'a small blob is one chunk, itself, and the empty blob none',
      needs: [splitting],
      run: async (api) => {
        const blob = api.blob(100);
        await api.put(blob);
        const { digests } = await split(api, blob.digest);
        expectSame(digests.map(String), [String(blob.digest)], 'the chunks of 100 bytes');
        const none = await split(api, api.blobOf(new Uint8Array()).digest);
        expectSame(none.digests.length, 0, 'the number of chunks of the empty blob');
      },
    },
    {
      ids: ['CDC-26', 'CDC-28', 'CDC-29', 'CDC-30'],
      title: 'FastCDC 2020 cuts where its definition says, with the parameters that are announced',
      needs: [splitting],
      run: async (api) => {
        const { fastCdc2020Params: announced } = api.tested.cache;
        if (!announced) throw new NotApplicable('FastCDC 2020 is not announced');
        const { avgChunkSizeBytes: avgBytes, seed } = announced;
        const isUsual =
          avgBytes >= 1024 && avgBytes <= 2 ** 20 && Number.isInteger(Math.log2(avgBytes));
        expectThat(isUsual, 'an average of a power of two from 1 KiB to 1 MiB', avgBytes);
        await expectCuts(api, FAST_CDC_2020, fastCdc2020({ avgBytes, seed }));
      },
    },
    {
      ids: ['CDC-31'],
      title: 'FastCDC 2020 mixes the seed that is announced into its table',
      needs: [splitting],
      run: async (api) => {
        const { avgChunkSizeBytes: avgBytes = 0, seed = 0 } =
          api.tested.cache.fastCdc2020Params ?? {};
        if (seed === 0) throw new NotApplicable('no seed but 0 is announced');
        await expectCuts(api, FAST_CDC_2020, fastCdc2020({ avgBytes, seed }));
      },
    },
    {
      ids: ['CDC-35', 'CDC-36', 'CDC-37'],
      title: 'RepMaxCDC cuts where its definition says, with the parameters that are announced',
      needs: [splitting],
      run: async (api) => {
        const { repMaxCdcParams: announced } = api.tested.cache;
        if (!announced) throw new NotApplicable('RepMaxCDC is not announced');
        const { minChunkSizeBytes: minBytes, horizonSizeBytes: horizonBytes } = announced;
        const isUsual = minBytes >= 64 && minBytes <= 2 ** 20 && horizonBytes <= 8 * 2 ** 20;
        expectThat(isUsual, 'a minimum from 64 bytes to 1 MiB, a horizon up to 8 MiB', announced);
        await expectCuts(api, REP_MAX_CDC, repMaxCdc({ minBytes, horizonBytes }));
      },
    },
    {
      ids: ['CDC-14'],
      title: 'SpliceBlob without a digest is refused',
      needs: [splicing],
      run: async (api) => {
        const call = api.one(rpcs.splice, { chunkDigests: [] });
        await expectRefusal(call, Code.INVALID_ARGUMENT, 'no blob_digest');
      },
    },
    {
      ids: ['CDC-19', 'CDC-20', 'CDC-22'],
      title: 'SpliceBlob makes a blob of chunks that were cut anyhow',
      needs: [splicing],
      run: async (api) => {
        const { blob, chunks } = await putChunks(api);
        const { blobDigest } = await splice(api, blob, chunks);
        expectSame(blobDigest?.hash, blob.digest.hash, 'the digest that was computed');
        await api.expectPresent(blob, 'the splice');
        for (const compressor of ['identity', ...api.tested.compressors] as const) {
          const answer = await api.read(api.readName(blob.digest, compressor));
          expectBytes(unpacked(compressor, answer), blob.bytes, `the blob, read as ${compressor}`);
        }
        const request = { digests: [blob.digest.toMessage()] };
        const { responses } = await api.one(rpcs.batchRead, request);
        expectBytes(responses[0]?.data ?? new Uint8Array(), blob.bytes, 'the blob in a batch');
      },
    },
    {
      ids: ['CDC-15', 'CDC-23', 'DIG-20'],
      title: 'SpliceBlob refuses chunks in a wrong order, and stores nothing',
      needs: [splicing],
      run: async (api) => {
        const { blob, chunks } = await putChunks(api);
        const call = splice(api, blob, chunks.toReversed());
        await expectRefusal(call, Code.INVALID_ARGUMENT, 'chunks in a wrong order');
        await api.expectAbsent(blob, 'the refusal');
      },
    },
    {
      ids: ['CDC-16'],
      title: 'SpliceBlob with an absent chunk is NOT_FOUND',
      needs: [splicing],
      run: async (api) => {
        const [first, absent] = [api.blob(), api.blob()];
        await api.put(first);
        const blob = api.blobOf(Buffer.concat([first.bytes, absent.bytes]));
        const call = splice(api, blob, [first, absent]);
        await expectRefusal(call, Code.NOT_FOUND, 'a chunk that nobody uploaded');
        await api.expectAbsent(blob, 'the refusal');
      },
    },
    {
      ids: ['CDC-18'],
      title: 'SpliceBlob of a blob that is there leaves it readable',
      needs: [splicing],
      run: async (api) => {
        const { blob, chunks } = await putChunks(api);
        await api.put(blob);
        await splice(api, blob, chunks).catch((thrown: { readonly code?: number }) => {
          if (thrown.code !== Code.ALREADY_EXISTS) throw thrown;
        });
        expectBytes(await api.read(api.readName(blob.digest)), blob.bytes, 'the blob');
      },
    },
    {
      ids: ['CDC-21'],
      title: 'SpliceBlob refuses chunks of another total, and takes one chunk twice',
      needs: [splicing],
      run: async (api) => {
        const { blob, chunks } = await putChunks(api);
        const call = splice(api, blob, chunks.slice(1));
        await expectRefusal(call, Code.INVALID_ARGUMENT, 'chunks of another total');
        const [chunk] = chunks as [Blob];
        const twice = api.blobOf(Buffer.concat([chunk.bytes, chunk.bytes]));
        await splice(api, twice, [chunk, chunk]);
        await api.expectPresent(twice, 'a splice of a chunk with itself');
      },
    },
  ],
};

async function putLarge(api: Api): Promise<Blob> {
  const blob = api.blob(LARGE_BYTES);
  await api.write(api.writeName(blob.digest), piecesOf(blob.bytes, LARGE_BYTES / 2));
  return blob;
}

/** Three chunks, and the blob that they make, which is not stored. */
async function putChunks(api: Api): Promise<{ blob: Blob; chunks: readonly Blob[] }> {
  const chunks = [api.blob(1000), api.blob(2000), api.blob(500)];
  await api.put(...chunks);
  return { chunks, blob: api.blobOf(Buffer.concat(chunks.map(({ bytes }) => bytes))) };
}

async function split(
  api: Api,
  digest: Digest,
  chunkingFunction = UNKNOWN as ChunkingFunction_Value,
) {
  const blobDigest = digest.toMessage();
  const answer = await withRoom(api.one(rpcs.split, { blobDigest, chunkingFunction }));
  const digests = answer.chunkDigests.map((one) =>
    Digest.fromMessage(digest.function, one, 'chunk_digests'),
  );
  return { digests, used: answer.chunkingFunction };
}

function splice(api: Api, { digest }: Blob, chunks: readonly Blob[]) {
  const call = api.one(rpcs.splice, {
    blobDigest: digest.toMessage(),
    chunkDigests: chunks.map((chunk) => chunk.digest.toMessage()),
  });
  return withRoom(call);
}

async function expectCuts(
  api: Api,
  wish: ChunkingFunction_Value,
  chunking: ChunkingFunction,
): Promise<void> {
  const blob = await putLarge(api);
  const { digests, used } = await split(api, blob.digest, wish);
  expectSame(used, wish, 'the chunking function, which is announced,');
  const expected: number[] = [];
  for await (const chunk of cutChunks(each([blob.bytes]), LARGE_BYTES, chunking)) {
    expected.push(chunk.length);
  }
  const seen = digests.map(({ sizeBytes }) => sizeBytes);
  expectSame(seen, expected, 'the sizes of the chunks');
}
