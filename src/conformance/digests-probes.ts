import { Code } from '../base/status.ts';
import type { DigestFunction } from '../digest/digest-function.ts';
import { Digest } from '../digest/digest.ts';
import { DigestFunction_Value } from '../proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { Api } from './api.ts';
import {
  expectBytes,
  expectRefusal,
  expectSame,
  expectStatus,
  expectThat,
  NotApplicable,
  throwFirstStatus,
} from './expect.ts';
import { aCache } from './needs.ts';
import type { Area, Probe } from './probe.ts';
import { blobOf } from './random-blobs.ts';
import { rpcs } from './rpcs.ts';

/** Sizes around the leaves and halves of SHA256TREE, and more than one message of most clients. */
const sizes = [1, 1024, 1025, 2049, 102_400];

const digestFunctionProbes: readonly Probe[] = (
  [
    ['SHA256TREE', 'DIG-13'],
    ['GITSHA1', 'DIG-14'],
    ['VSO', 'DIG-15'],
    ['BLAKE3', 'DIG-17'],
  ] as const
).map(([name, id]) => ({
  ids: [id],
  title: `blobs are taken under the ${name} digests of the API, and under no others`,
  run: async (api) => {
    const digestFunction = announced(api, ({ name: known }) => known === name);
    for (const size of sizes) {
      const blob = api.blob(size, digestFunction);
      await api.put(blob);
      await api.expectPresent(blob, `an upload of ${size} bytes under ${name}`);
    }
    await expectNoOtherBytes(api, digestFunction);
  },
}));

export const digestsProbes: Area = {
  name: 'digests',
  needs: [aCache],
  probes: [
    ...malformedProbes(),
    {
      ids: ['DIG-02', 'BS-11'],
      title: 'a blob is not read under a wrong size',
      run: async (api) => {
        const { bytes, digest } = api.blob();
        await api.put({ bytes, digest });
        const other = Digest.of(digest.function, digest.hash, digest.sizeBytes + 1);
        const call = api.read(api.readName(other));
        await expectRefusal(call, [Code.NOT_FOUND, Code.INVALID_ARGUMENT], 'a size one too large');
      },
    },
    {
      ids: ['DIG-02', 'CAS-14'],
      title: 'a blob is not stored under a wrong size',
      run: async (api) => {
        const { bytes, digest } = api.blob();
        const other = Digest.of(digest.function, digest.hash, digest.sizeBytes + 1);
        const { responses } = await api.one(rpcs.batchUpdate, {
          requests: [{ digest: other.toMessage(), data: bytes }],
        });
        expectStatus(responses[0]?.status, Code.INVALID_ARGUMENT, 'a size one too large');
        await api.expectAbsent({ bytes, digest: other }, 'the refusal');
      },
    },
    {
      ids: ['DIG-04', 'BS-04'],
      title: 'an unset digest function is told by the length of the hash',
      run: async (api) => {
        const digestFunction = announced(api, ({ segment }) => segment === undefined);
        const blob = api.blob(1000, digestFunction);
        const digest = blob.digest.toMessage();
        const { responses } = await api.one(rpcs.batchUpdate, {
          digestFunction: DigestFunction_Value.UNKNOWN,
          requests: [{ digest, data: blob.bytes }],
        });
        expectStatus(responses[0]?.status, Code.OK, 'an upload without digest function');
        await api.expectPresent(blob, 'an upload without digest function');
        const found = await api.one(rpcs.findMissing, {
          digestFunction: DigestFunction_Value.UNKNOWN,
          blobDigests: [digest],
        });
        expectSame(found.missingBlobDigests.length, 0, 'the number of missing blobs');
        expectBytes(await api.read(api.readName(blob.digest)), blob.bytes, 'the blob');
      },
    },
    {
      ids: ['DIG-05'],
      title: 'a digest function with a name of its own is never inferred',
      run: async (api) => {
        const digestFunction = announced(api, ({ segment }) => segment !== undefined);
        const blob = api.blob(1000, digestFunction);
        await api.put(blob);
        const request = {
          digestFunction: DigestFunction_Value.UNKNOWN,
          blobDigests: [blob.digest.toMessage()],
        };
        const found = await api.one(rpcs.findMissing, request).catch(() => undefined);
        const count = found?.missingBlobDigests.length ?? 1;
        expectThat(count === 1, 'it to be missing, or refused, when it is not named', 'present');
      },
    },
    {
      ids: ['DIG-07'],
      title: 'a hash of a length that does not fit the digest function is refused',
      run: async (api) => {
        const hash = `${api.blob().digest.hash}00`;
        const call = api.one(rpcs.findMissing, { blobDigests: [{ hash, sizeBytes: 1 }] });
        await expectRefusal(call, Code.INVALID_ARGUMENT, 'a hash that is two characters too long');
      },
    },
    {
      ids: ['DIG-08', 'GEN-17'],
      title: 'a digest function that is not announced, or not known at all, is refused',
      run: async (api) => {
        const { digestFunctions } = api.tested.cache;
        const lengths = new Map([
          [1, 64],
          [2, 40],
          [3, 32],
          [7, 32],
          [99, 64],
        ]);
        for (const [number, length] of lengths) {
          const digestFunction = number as DigestFunction_Value;
          if (digestFunctions.includes(digestFunction)) continue;
          const blobDigests = [{ hash: 'a'.repeat(length), sizeBytes: 1 }];
          const call = api.one(rpcs.findMissing, { digestFunction, blobDigests });
          await expectRefusal(call, Code.INVALID_ARGUMENT, `digest function ${digestFunction}`);
        }
      },
    },
    {
      ids: ['DIG-09', 'CAS-34'],
      title: 'digests of two digest functions in one request are refused',
      run: async (api) => {
        const { digest } = api.blob();
        const length = digest.hash.length === 40 ? 64 : 40;
        const digests = [digest.toMessage(), { hash: 'a'.repeat(length), sizeBytes: 1 }];
        const unset = { digestFunction: DigestFunction_Value.UNKNOWN };
        const finding = api.one(rpcs.findMissing, { ...unset, blobDigests: digests });
        await expectRefusal(finding, Code.INVALID_ARGUMENT, 'mixed lengths in FindMissingBlobs');
        // As a whole, or for the digest that does not fit.
        const reading = api.one(rpcs.batchRead, { ...unset, digests }).then(({ responses }) =>
          throwFirstStatus({
            responses: responses.filter(({ status }) => status?.code !== Code.NOT_FOUND),
          }),
        );
        await expectRefusal(reading, Code.INVALID_ARGUMENT, 'mixed lengths in BatchReadBlobs');
      },
    },
    {
      ids: ['DIG-10'],
      title: 'one hash is two blobs under two digest functions',
      run: async (api) => {
        const { digestFunctions } = api.tested;
        const pairs = digestFunctions.flatMap((one) =>
          digestFunctions.map((two) => ({ one, two })),
        );
        const pair = pairs.find(({ one, two }) => one !== two && one.hexLength === two.hexLength);
        if (!pair) throw new NotApplicable('no two digest functions have the same length');
        // More than SHA256TREE's first leaf, up to which it is SHA256.
        const { bytes, digest } = api.blob(5000, pair.one);
        await api.put({ bytes, digest });
        const other = Digest.of(pair.two, digest.hash, digest.sizeBytes);
        const missing = await api.missing(other);
        expectThat(missing.length === 1, `the hash to be missing as ${pair.two.name}`, missing);
      },
    },
    {
      ids: ['DIG-11', 'CAS-35'],
      title: 'the empty blob of every digest function is there without an upload',
      run: async (api) => {
        for (const digestFunction of api.tested.digestFunctions) {
          const empty = blobOf(digestFunction, new Uint8Array());
          await api.expectPresent(empty, `nothing, as ${digestFunction.name}`);
          const { responses } = await api.one(rpcs.batchRead, {
            digestFunction: digestFunction.value,
            digests: [empty.digest.toMessage()],
          });
          expectStatus(responses[0]?.status, Code.OK, `the empty blob as ${digestFunction.name}`);
          expectSame(responses[0]?.data.length, 0, 'its size');
          expectSame((await api.read(api.readName(empty.digest))).length, 0, 'its size by Read');
        }
      },
    },
    ...digestFunctionProbes,
    {
      ids: ['CAP-08'],
      title: 'every digest function that is announced works in batches and streams',
      run: async (api) => {
        for (const digestFunction of api.tested.digestFunctions) {
          const inBatch = api.blob(3000, digestFunction);
          await api.put(inBatch);
          const bytes = await api.read(api.readName(inBatch.digest));
          expectBytes(bytes, inBatch.bytes, `what is read as ${digestFunction.name}`);
          const inStream = api.blob(3000, digestFunction);
          await api.writeWhole(api.writeName(inStream.digest), inStream.bytes);
          await api.expectPresent(inStream, `a Write as ${digestFunction.name}`);
        }
      },
    },
    {
      ids: ['DIG-19', 'AC-23'],
      title: 'a digest that is not set is refused: it does not stand for the empty blob',
      run: async (api) => {
        const call = api.one(rpcs.getActionResult, {});
        await expectRefusal(call, Code.INVALID_ARGUMENT, 'GetActionResult without action_digest');
      },
    },
    {
      ids: ['DIG-20', 'BS-35'],
      title: 'a Write of other bytes than the digest says is refused, and stores nothing',
      run: async (api) => {
        const blob = api.blob();
        const call = api.writeWhole(api.writeName(blob.digest), api.random.bytes(1000));
        await expectRefusal(call, Code.INVALID_ARGUMENT, 'bytes of another blob');
        await api.expectAbsent(blob, 'the refusal');
      },
    },
    {
      ids: ['DIG-20', 'CAS-14'],
      title: 'a batch with other bytes than the digest says stores nothing of them',
      run: async (api) => expectNoOtherBytes(api, api.tested.digestFunction),
    },
  ],
};

/** Each kind of malformed hash, in each method that takes digests (DIG-01). */
function malformedProbes(): Probe[] {
  const flaws: Readonly<Record<string, (hash: string) => string>> = {
    'upper-case': (hash) => `A${hash.slice(1).toUpperCase()}`,
    'too short': (hash) => hash.slice(1),
    'not hexadecimal': (hash) => `g${hash.slice(1)}`,
    empty: () => '',
  };
  return Object.entries(flaws).map(([flaw, change]) => ({
    ids: ['DIG-01'],
    title: `a hash that is ${flaw} is refused`,
    run: async (api) => {
      const digest = { hash: change(api.blob().digest.hash), sizeBytes: 1000 };
      const calls = {
        FindMissingBlobs: () => api.one(rpcs.findMissing, { blobDigests: [digest] }),
        BatchReadBlobs: () => api.one(rpcs.batchRead, { digests: [digest] }).then(throwFirstStatus),
        GetActionResult: () => api.one(rpcs.getActionResult, { actionDigest: digest }),
        GetTree: () => api.all(rpcs.getTree, { rootDigest: digest }),
      };
      for (const [name, call] of Object.entries(calls)) {
        await expectRefusal(call(), Code.INVALID_ARGUMENT, `such a hash in ${name}`);
      }
    },
  }));
}

function announced(api: Api, wanted: (one: DigestFunction) => boolean): DigestFunction {
  const found = api.tested.digestFunctions.find(wanted);
  if (found) return found;
  throw new NotApplicable('no such digest function is announced');
}

async function expectNoOtherBytes(api: Api, digestFunction: DigestFunction): Promise<void> {
  const { bytes, digest } = api.blob(1000, digestFunction);
  const data = Buffer.from(bytes);
  data[500] = (data[500] ?? 0) ^ 1;
  const { responses } = await api.one(rpcs.batchUpdate, {
    digestFunction: digestFunction.value,
    requests: [{ digest: digest.toMessage(), data }],
  });
  expectStatus(responses[0]?.status, Code.INVALID_ARGUMENT, 'a blob with one bit flipped');
  await api.expectAbsent({ bytes, digest }, 'the refusal');
}
