import { Code } from '../base/status.ts';
import { Digest } from '../digest/digest.ts';
import { Compressor_Value } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Api } from './api.ts';
import { packed, unpacked } from './compressed.ts';
import {
  expectBytes,
  expectRefusal,
  expectSame,
  expectStatus,
  expectThat,
  throwFirstStatus,
} from './expect.ts';
import { aCache, batchCompression } from './needs.ts';
import type { Area } from './probe.ts';
import type { Blob } from './random-blobs.ts';
import { rpcs } from './rpcs.ts';
import { hasField } from './wire-fields.ts';

/** Siso's and the SDK's batches hold thousands (CAS-19). */
const BLOBS_IN_BATCH = 4000;

const compressorNumbers = {
  zstd: Compressor_Value.ZSTD,
  deflate: Compressor_Value.DEFLATE,
  brotli: Compressor_Value.BROTLI,
} as const;

export const batchesProbes: Area = {
  name: 'batches',
  needs: [aCache],
  probes: [
    {
      ids: ['CAS-10'],
      title: 'each blob of a batch is stored or refused alone',
      run: async (api) => {
        const [good, bad] = [api.blob(), api.blob()];
        const { responses } = await api.one(rpcs.batchUpdate, {
          requests: [update(good), update(bad, api.random.bytes(1000))],
        });
        expectSame(responses.length, 2, 'the number of answers');
        const ofHash = (blob: Blob) =>
          responses.find(({ digest }) => digest?.hash === blob.digest.hash)?.status;
        expectStatus(ofHash(good), Code.OK, 'the good one, under its digest');
        expectStatus(ofHash(bad), Code.INVALID_ARGUMENT, 'the corrupt one, under its digest');
        await api.expectPresent(good, 'a batch with another that is corrupt');
        await api.expectAbsent(bad, 'the refusal');
      },
    },
    {
      ids: ['CAS-11'],
      title: 'BatchUpdateBlobs sets digest and status of successes too',
      run: async (api) => {
        const request = api.encoded(rpcs.batchUpdate, { requests: [update(api.blob())] });
        const [answer] = await api.raw(rpcs.batchUpdate.path, request);
        expectThat(hasField(answer, [1, 1]), 'responses[0].digest to be set', 'no such field');
        expectThat(hasField(answer, [1, 2]), 'responses[0].status to be set', 'no such field');
      },
    },
    {
      ids: ['CAS-12', 'ERR-03'],
      title: 'a batch above max_batch_total_size_bytes is refused as a whole',
      run: async (api) => {
        const blob = api.blob(api.tested.batchBytesMax + 1);
        const call = api.one(rpcs.batchUpdate, { requests: [update(blob)] });
        await expectRefusal(call, Code.INVALID_ARGUMENT, 'a batch of one byte too many');
        await api.expectAbsent(blob, 'the refusal');
      },
      needs: [limitedBatches],
    },
    {
      ids: ['CAP-11', 'GEN-08', 'GEN-09', 'CAS-30'],
      title: 'a batch of exactly max_batch_total_size_bytes is stored, and read in one message',
      run: async (api) => {
        const half = Math.floor(api.tested.batchBytesMax / 2);
        const blobs = [api.blob(half), api.blob(api.tested.batchBytesMax - half)];
        await api.put(...blobs);
        const digests = blobs.map(({ digest }) => digest.toMessage());
        const [answer = new Uint8Array()] = await api.raw(
          rpcs.batchRead.path,
          api.encoded(rpcs.batchRead, { digests }),
        );
        const { responses } = rpcs.batchRead.response.decode(answer);
        expectSame(responses.length, 2, 'the number of answers');
        const bytes = Buffer.concat(responses.map(({ data }) => data));
        expectBytes(bytes, Buffer.concat(blobs.map((blob) => blob.bytes)), 'what is read');
        expectThat(answer.length <= 2 ** 22, 'a message of 4 MiB at most', answer.length);
      },
      needs: [limitedBatches],
    },
    {
      ids: ['CAS-13'],
      title: 'a batch counts as it is sent: packed blobs of three times the limit fit',
      needs: [batchCompression('zstd')],
      run: async (api) => {
        const bytes = api.random.packable(Math.ceil(api.tested.batchBytesMax * 0.6));
        const blobs = Array.from({ length: 5 }, (_, i) => {
          bytes[0] = i;
          return api.blobOf(Buffer.from(bytes));
        });
        const { responses } = await api.one(rpcs.batchUpdate, {
          requests: blobs.map((blob) => ({
            ...update(blob, packed('zstd', blob.bytes)),
            compressor: Compressor_Value.ZSTD,
          })),
        });
        for (const { status } of responses) expectStatus(status, Code.OK, 'a packed blob');
      },
    },
    ...(['zstd', 'deflate', 'brotli'] as const).map((compressor) => ({
      ids: ['CAS-16', 'CAP-14'],
      title: `a batch takes blobs in ${compressor}, where it is announced`,
      needs: [batchCompression(compressor)],
      run: async (api: Api) => {
        const blob = api.blobOf(api.random.packable(10_000));
        const { responses } = await api.one(rpcs.batchUpdate, {
          requests: [
            {
              ...update(blob, packed(compressor, blob.bytes)),
              compressor: compressorNumbers[compressor],
            },
          ],
        });
        expectStatus(responses[0]?.status, Code.OK, `a blob in ${compressor}`);
        expectBytes(await api.read(api.readName(blob.digest)), blob.bytes, 'the blob');
      },
    })),
    {
      ids: ['CAS-16', 'CMP-02'],
      title: 'a compressor that is not announced for batches is refused, blob by blob',
      run: async (api) => {
        const listed = api.tested.cache.supportedBatchUpdateCompressors as readonly number[];
        const number = [3, 2, 1].find((one) => !listed.includes(one)) ?? 99;
        const requests = [{ ...update(api.blob()), compressor: number as Compressor_Value }];
        const { responses } = await api.one(rpcs.batchUpdate, { requests });
        expectStatus(responses[0]?.status, Code.INVALID_ARGUMENT, `compressor ${number}`);
      },
    },
    {
      ids: ['CAS-17'],
      title: 'a blob that is there already, or twice in a batch, is no error',
      run: async (api) => {
        const blob = api.blob();
        await api.put(blob, blob);
        await api.put(blob);
      },
    },
    {
      ids: ['CAS-18'],
      title: 'the empty blob can be uploaded',
      run: async (api) => api.put(api.blobOf(new Uint8Array())),
    },
    {
      ids: ['CAS-19'],
      title: `${BLOBS_IN_BATCH} blobs fit into one batch`,
      run: async (api) => {
        // A few small ones, many times over: they must not fill the store.
        const blobs = Array.from({ length: 20 }, () => api.blob(8));
        await api.put(...Array.from({ length: BLOBS_IN_BATCH / 20 }, () => blobs).flat());
      },
    },
    {
      ids: ['CAS-30'],
      title: 'a batch that is read answers for each digest, also for what is absent',
      run: async (api) => {
        const [there, absent] = [api.blob(), api.blob()];
        await api.put(there);
        const { responses } = await read(api, [there.digest, absent.digest]);
        expectSame(responses.length, 2, 'the number of answers');
        const ofHash = (blob: Blob) =>
          responses.find(({ digest }) => digest?.hash === blob.digest.hash);
        expectStatus(ofHash(there)?.status, Code.OK, 'the one that is there');
        expectBytes(ofHash(there)?.data ?? new Uint8Array(), there.bytes, 'its data');
        expectStatus(ofHash(absent)?.status, Code.NOT_FOUND, 'the one that is absent');
      },
    },
    {
      ids: ['CAS-31'],
      title: 'BatchReadBlobs sets digest and status of successes too',
      run: async (api) => {
        const blob = api.blob();
        await api.put(blob);
        const request = api.encoded(rpcs.batchRead, { digests: [blob.digest.toMessage()] });
        const [answer] = await api.raw(rpcs.batchRead.path, request);
        expectThat(hasField(answer, [1, 1]), 'responses[0].digest to be set', 'no such field');
        expectThat(hasField(answer, [1, 3]), 'responses[0].status to be set', 'no such field');
      },
    },
    {
      ids: ['CAS-32', 'ERR-03'],
      title: 'a batch of digests above max_batch_total_size_bytes is refused as a whole',
      needs: [limitedBatches],
      run: async (api) => {
        const { hash, function: digestFunction } = api.blob().digest;
        const digest = Digest.of(digestFunction, hash, api.tested.batchBytesMax + 1);
        const call = read(api, [digest]);
        await expectRefusal(call, Code.INVALID_ARGUMENT, 'digests of one byte too many');
      },
    },
    {
      ids: ['CAS-33'],
      title: 'a batch comes as it is unless the request accepts compressors, then in one of them',
      run: async (api) => {
        const blob = api.blobOf(api.random.packable(10_000));
        await api.put(blob);
        const digests = [blob.digest.toMessage()];
        const plain = await api.one(rpcs.batchRead, { digests });
        expectSame(plain.responses[0]?.compressor, 0, 'the compressor when none is accepted');
        expectBytes(plain.responses[0]?.data ?? new Uint8Array(), blob.bytes, 'the data');
        const accepted = await api.one(rpcs.batchRead, {
          digests,
          acceptableCompressors: [Compressor_Value.ZSTD],
        });
        const { compressor, data = new Uint8Array() } = accepted.responses[0] ?? {};
        const isAccepted = compressor === 0 || compressor === Compressor_Value.ZSTD;
        expectThat(isAccepted, 'IDENTITY (0) or ZSTD (1)', compressor);
        const bytes = compressor === Compressor_Value.ZSTD ? unpacked('zstd', data) : data;
        expectBytes(bytes, blob.bytes, 'the data, unpacked');
      },
    },
    {
      ids: ['DIG-19'],
      title: 'a batch with a blob that has no digest is refused',
      run: async (api) => {
        const call = api.one(rpcs.batchUpdate, { requests: [{ data: Buffer.from('x') }] });
        const refused = call.then(throwFirstStatus);
        await expectRefusal(refused, Code.INVALID_ARGUMENT, 'a blob without digest');
      },
    },
  ],
};

function limitedBatches({ cache }: Api['tested']): string | undefined {
  const { maxBatchTotalSizeBytes: max } = cache;
  return max > 0 && max <= 2 ** 22 ? undefined : 'batches have no limit, or one above 4 MiB';
}

function update({ digest, bytes }: Blob, data: Uint8Array = bytes) {
  return { digest: digest.toMessage(), data };
}

function read(api: Api, digests: readonly Digest[]) {
  return api.one(rpcs.batchRead, { digests: digests.map((digest) => digest.toMessage()) });
}
