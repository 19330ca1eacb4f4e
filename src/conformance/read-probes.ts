import { Code } from '../base/status.ts';
import type { Api } from './api.ts';
import { expectBytes, expectRefusal, expectSame, expectThat } from './expect.ts';
import { aCache } from './needs.ts';
import type { Area } from './probe.ts';
import { rpcs } from './rpcs.ts';

/** Enough for several messages of every server. */
const LARGE_BYTES = 3 * 2 ** 20;

const MESSAGE_BYTES_MAX = 4 * 2 ** 20;

export const readProbes: Area = {
  name: 'byte-stream-read',
  needs: [aCache],
  probes: [
    {
      ids: ['BS-01'],
      title: 'names that are none are refused',
      run: async (api) => {
        const { hash, sizeBytes } = api.blob().digest;
        const rests = [
          `blobs/${hash}`,
          `blobs/${hash}/-1`,
          `blobs/${hash}/+${sizeBytes}`,
          `blobs/${hash}/0${sizeBytes}`,
          `blobs/${hash}/x`,
          `blobs/${hash.slice(1)}/${sizeBytes}`,
          `blobs/${hash.toUpperCase().replace(/^./, 'A')}/${sizeBytes}`,
          `blob/${hash}/${sizeBytes}`,
          'blobs',
        ];
        for (const rest of rests) await expectNoName(api, rest);
      },
    },
    {
      ids: ['BS-02'],
      title: 'the name of an upload is none for reading',
      run: async (api) => {
        await expectNoName(api, `uploads/${api.random.uuid()}/blobs/${api.blob().digest}`);
      },
    },
    {
      ids: ['BS-03'],
      title: 'a name says its digest function only if that is one of the new ones',
      run: async (api) => {
        const { digest } = api.blob();
        await expectNoName(api, `blobs/sha256/${digest.hash}/${digest.sizeBytes}`);
        const digestFunction = api.tested.digestFunctions.find(({ segment }) => segment);
        if (!digestFunction) return;
        const blob = api.blob(1000, digestFunction);
        await api.put(blob);
        const name = `blobs/${digestFunction.segment}/${blob.digest.hash}/${blob.bytes.length}`;
        expectBytes(await api.read(nameOf(api, name)), blob.bytes, `what ${name} reads`);
      },
    },
    {
      ids: ['BS-06'],
      title: 'nothing may follow the size in the name of a read',
      run: async (api) => {
        const blob = api.blob();
        await api.put(blob);
        await expectNoName(api, `blobs/${blob.digest}/more`);
      },
    },
    {
      ids: ['BS-08'],
      title: 'identity is no compressor in a name',
      run: async (api) => {
        const blob = api.blob();
        await api.put(blob);
        await expectNoName(api, `compressed-blobs/identity/${blob.digest}`);
      },
    },
    {
      ids: ['BS-09'],
      title: 'the routing header of a read is taken',
      run: async (api) => {
        const blob = api.blob();
        await api.put(blob);
        const resourceName = api.readName(blob.digest);
        const headers = { 'build.bazel.remote.execution.v2.resource-name': resourceName };
        const answers = await api.all(rpcs.read, { resourceName }, { headers });
        expectBytes(Buffer.concat(answers.map(({ data }) => data)), blob.bytes, 'the blob');
      },
    },
    {
      ids: ['BS-10', 'BS-18', 'GEN-09'],
      title: 'a large blob comes whole, in messages below 4 MiB',
      run: async (api) => {
        const blob = api.blob(LARGE_BYTES);
        await api.writeWhole(api.writeName(blob.digest), blob.bytes);
        const resourceName = api.readName(blob.digest);
        const request = api.encoded(rpcs.read, { resourceName });
        const messages = await api.raw(rpcs.read.path, request);
        const largest = Math.max(...messages.map(({ length }) => length));
        expectThat(largest < MESSAGE_BYTES_MAX, 'messages below 4 MiB', `${largest} bytes`);
        const data = messages.map((message) => rpcs.read.response.decode(message).data);
        expectBytes(Buffer.concat(data), blob.bytes, 'the blob');
      },
    },
    {
      ids: ['BS-11', 'ERR-04'],
      title: 'a blob that is absent is NOT_FOUND',
      run: async (api) => {
        const call = api.read(api.readName(api.blob().digest));
        await expectRefusal(call, Code.NOT_FOUND, 'a blob that nobody uploaded');
      },
    },
    {
      ids: ['BS-12'],
      title: 'a read begins at its offset; past the end it is OUT_OF_RANGE',
      run: async (api) => {
        const blob = api.blob(1000);
        await api.put(blob);
        const name = api.readName(blob.digest);
        const tail = await api.read(name, { readOffset: 600 });
        expectBytes(tail, blob.bytes.subarray(600), 'what is read from 600 on');
        const nothing = await api.read(name, { readOffset: 1000 });
        expectSame(nothing.length, 0, 'the bytes read from the end on');
        for (const readOffset of [1001, -1]) {
          const call = api.read(name, { readOffset });
          await expectRefusal(call, Code.OUT_OF_RANGE, `a read_offset of ${readOffset} in 1000`);
        }
      },
    },
    {
      ids: ['BS-13'],
      title: 'a read ends at its limit, which may be larger than the blob, but not negative',
      run: async (api) => {
        const blob = api.blob(1000);
        await api.put(blob);
        const name = api.readName(blob.digest);
        const part = await api.read(name, { readOffset: 10, readLimit: 5 });
        expectBytes(part, blob.bytes.subarray(10, 15), 'a read of 5 bytes from 10 on');
        const whole = await api.read(name, { readLimit: 5000 });
        expectBytes(whole, blob.bytes, 'a read of at most 5000 bytes');
        const call = api.read(name, { readLimit: -1 });
        const codes = [Code.INVALID_ARGUMENT, Code.OUT_OF_RANGE];
        await expectRefusal(call, codes, 'a read_limit of -1');
      },
    },
    {
      ids: ['BS-17', 'DIG-11'],
      title: 'the empty blob is read, and has no bytes',
      run: async (api) => {
        const { digest } = api.blobOf(new Uint8Array());
        expectSame((await api.read(api.readName(digest))).length, 0, 'its size');
      },
    },
  ],
};

function nameOf(api: Api, rest: string): string {
  const { instanceName } = api.tested;
  return instanceName === '' ? rest : `${instanceName}/${rest}`;
}

async function expectNoName(api: Api, rest: string): Promise<void> {
  await expectRefusal(api.read(nameOf(api, rest)), Code.INVALID_ARGUMENT, `the name ${rest}`);
}
