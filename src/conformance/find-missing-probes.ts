import { Code } from '../base/status.ts';
import { Digest } from '../digest/digest.ts';
import { piecesOf } from './api.ts';
import { expectRefusal, expectSame, expectThat } from './expect.ts';
import { aCache } from './needs.ts';
import type { Area } from './probe.ts';
import { rpcs } from './rpcs.ts';

/** As many as Bazel and Pants put into one message (CAS-06). */
const DIGESTS_AT_ONCE = 50_000;

export const findMissingProbes: Area = {
  name: 'find-missing',
  needs: [aCache],
  probes: [
    {
      ids: ['CAS-01'],
      title: 'FindMissingBlobs lists exactly the blobs that are absent',
      run: async (api) => {
        const present = [api.blob(), api.blob(), api.blob()];
        const absent = [api.blob(), api.blob()];
        await api.put(...present);
        const asked = [...present, ...absent, ...present, ...absent].map(({ digest }) => digest);
        const listed = new Set(await api.missing(...asked));
        const expected = absent.map(({ digest: { hash, sizeBytes } }) => `${hash}/${sizeBytes}`);
        expectSame([...listed].toSorted(), expected.toSorted(), 'the missing blobs');
      },
    },
    {
      ids: ['CAS-02'],
      title: 'a blob that is half uploaded is missing',
      run: async (api) => {
        const blob = api.blob(20_000);
        const [half] = piecesOf(blob.bytes, 10_000);
        // With a committed size or with an error: both are allowed.
        await api.write(api.writeName(blob.digest), half ? [half] : []).catch(() => {});
        await api.expectAbsent(blob, 'half an upload');
      },
    },
    {
      ids: ['CAS-05'],
      title: 'no digests give an empty answer',
      run: async (api) => {
        const { missingBlobDigests } = await api.one(rpcs.findMissing, {});
        expectSame(missingBlobDigests.length, 0, 'the number of missing blobs');
      },
    },
    {
      ids: ['CAS-06'],
      title: `${DIGESTS_AT_ONCE} digests fit into one request`,
      run: async (api) => {
        const { digestFunction } = api.tested;
        const bytes = api.random.bytes((DIGESTS_AT_ONCE * digestFunction.hexLength) / 2);
        const length = digestFunction.hexLength / 2;
        const digests = Array.from({ length: DIGESTS_AT_ONCE }, (_, i) =>
          Digest.of(digestFunction, bytes.toString('hex', i * length, (i + 1) * length), 1000),
        );
        expectSame((await api.missing(...digests)).length, DIGESTS_AT_ONCE, 'the missing blobs');
      },
    },
    {
      ids: ['CAS-07'],
      title: 'what was uploaded is there at once, 30 times over',
      run: async (api) => {
        for (let i = 0; i < 30; i++) {
          const blob = api.blob(100);
          await api.put(blob);
          await api.expectPresent(blob, 'its upload');
        }
      },
    },
    {
      ids: ['CAS-08'],
      title: 'the size belongs to the digest: another one is missing, and no error',
      run: async (api) => {
        const blob = api.blob();
        await api.put(blob);
        const { function: digestFunction, hash, sizeBytes } = blob.digest;
        const missing = await api.missing(Digest.of(digestFunction, hash, sizeBytes + 1));
        expectThat(missing.length === 1, 'the digest of another size to be missing', missing);
      },
    },
    {
      ids: ['CAS-08'],
      title: 'a malformed digest is an error',
      run: async (api) => {
        const blobDigests = [{ hash: 'no hash', sizeBytes: 1 }];
        const call = api.one(rpcs.findMissing, { blobDigests });
        await expectRefusal(call, Code.INVALID_ARGUMENT, 'the hash "no hash"');
      },
    },
  ],
};
