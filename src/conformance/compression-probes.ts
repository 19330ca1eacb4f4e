import { deflateSync } from 'node:zlib';
import { Code } from '../base/status.ts';
import type { Compressor } from '../digest/resource-name.ts';
import type { Api, Piece } from './api.ts';
import { packed, unpacked } from './compressed.ts';
import { expectBytes, expectRefusal, expectSame, expectThat } from './expect.ts';
import { aCache, compression } from './needs.ts';
import type { Area, Probe } from './probe.ts';
import type { Blob } from './random-blobs.ts';

const BLOB_BYTES = 20_000;

export const compressionProbes: Area = {
  name: 'compression',
  needs: [aCache],
  probes: [
    ...(['zstd', 'deflate', 'brotli'] as const).flatMap(probesOf),
    {
      ids: ['CMP-03'],
      title: 'deflate is raw: with a wrapper of zlib it is refused',
      needs: [compression('deflate')],
      run: async (api) => {
        const blob = api.blobOf(api.random.packable(BLOB_BYTES));
        const call = api.writeWhole(api.writeName(blob.digest, 'deflate'), deflateSync(blob.bytes));
        await expectRefusal(call, Code.INVALID_ARGUMENT, 'a stream with a wrapper of zlib');
        await api.expectAbsent(blob, 'the refusal');
      },
    },
    {
      ids: ['CMP-04'],
      title: 'zstd may come in several frames, and in frames that are to be skipped',
      needs: [compression('zstd')],
      run: async (api) => {
        const bytes = api.random.packable(BLOB_BYTES);
        const blob = api.blobOf(bytes);
        const skipped = Buffer.from('502a4d1803000000616263', 'hex');
        const frames = [
          packed('zstd', bytes.subarray(0, 7000)),
          skipped,
          packed('zstd', bytes.subarray(7000)),
        ];
        await api.writeWhole(api.writeName(blob.digest, 'zstd'), Buffer.concat(frames));
        expectBytes(await api.read(api.readName(blob.digest)), bytes, 'the blob');
      },
    },
    {
      ids: ['CMP-08', 'BS-16'],
      title: 'a compressor that is not announced is refused in names',
      run: async (api) => {
        const blob = api.blob();
        await api.put(blob);
        const { compressors } = api.tested;
        const known: readonly Compressor[] = ['brotli', 'deflate', 'zstd'];
        const compressor = known.find((one) => !compressors.includes(one)) ?? 'lzma';
        const name = (plain: string) => plain.replace('blobs/', `compressed-blobs/${compressor}/`);
        const reading = api.read(name(api.readName(blob.digest)));
        await expectRefusal(reading, Code.INVALID_ARGUMENT, `a Read in ${compressor}`);
        const writing = api.writeWhole(name(api.writeName(api.blob().digest)), blob.bytes);
        await expectRefusal(writing, Code.INVALID_ARGUMENT, `a Write in ${compressor}`);
      },
    },
    {
      ids: ['CMP-09'],
      title: 'a blob is read in every compressor, whichever it was uploaded in',
      needs: [compression()],
      run: async (api) => {
        const forms: readonly Compressor[] = ['identity', ...api.tested.compressors];
        for (const uploadedIn of forms) {
          const blob = api.blobOf(api.random.packable(BLOB_BYTES));
          const name = api.writeName(blob.digest, uploadedIn);
          await api.writeWhole(name, packed(uploadedIn, blob.bytes));
          for (const form of forms) {
            const bytes = unpacked(form, await api.read(api.readName(blob.digest, form)));
            expectBytes(bytes, blob.bytes, `what is read in ${form} after ${uploadedIn}`);
          }
        }
      },
    },
  ],
};

/** What holds for each compressor that is announced. */
function probesOf(compressor: Compressor): Probe[] {
  const needs = [compression(compressor)];
  return [
    ...writeProbesOf(compressor),
    ...resumeProbesOf(compressor),
    ...readProbesOf(compressor),
  ].map((probe) => ({ ...probe, needs }));
}

function writeProbesOf(compressor: Compressor): Probe[] {
  return [
    {
      ids: ['CAP-14', 'BS-05', 'BS-32'],
      title: `${compressor}: an upload in three messages, whose offsets count packed bytes`,
      run: async (api) => {
        const blob = api.blob(BLOB_BYTES);
        const data = packed(compressor, blob.bytes);
        const pieces = thirdsOf(data);
        const size = await api.write(api.writeName(blob.digest, compressor), pieces);
        // Clients disagree on what is right here, so all of what some client takes is (BS-38).
        const isTaken = [data.length, BLOB_BYTES, -1].includes(size);
        expectThat(isTaken, `${data.length}, ${BLOB_BYTES} or -1 as committed_size`, size);
        expectBytes(await api.read(api.readName(blob.digest)), blob.bytes, 'the blob');
      },
    },
    {
      ids: ['CMP-05'],
      title: `${compressor}: what unpacks to more than the digest says is refused`,
      run: async (api) => {
        const { digest, bytes } = api.blob(10);
        const bomb = packed(compressor, Buffer.alloc(2 ** 20));
        const call = api.writeWhole(api.writeName(digest, compressor), bomb);
        await expectRefusal(call, Code.INVALID_ARGUMENT, '1 MiB in place of 10 bytes');
        await api.expectAbsent({ digest, bytes }, 'the refusal');
      },
    },
    {
      ids: ['CMP-06'],
      title: `${compressor}: other data than the digest says is refused`,
      run: (api) =>
        expectRefused(api, compressor, 'other data', () =>
          packed(compressor, api.random.bytes(BLOB_BYTES)),
        ),
    },
    {
      ids: ['CMP-07'],
      title: `${compressor}: a stream that is cut, or followed by something, is refused`,
      run: async (api) => {
        await expectRefused(api, compressor, 'a stream without its last byte', (data) =>
          data.subarray(0, -1),
        );
        await expectRefused(api, compressor, 'a stream with one byte more', (data) =>
          Buffer.concat([data, Buffer.from('x')]),
        );
      },
    },
  ];
}

function resumeProbesOf(compressor: Compressor): Probe[] {
  return [
    {
      ids: ['BS-39'],
      title: `${compressor}: an upload of a blob that is there is answered with -1, before it ends`,
      run: async (api) => {
        const { digest } = await storedBlob(api);
        const name = api.writeName(digest, compressor);
        const size = await api.write(name, nothingYet(api));
        expectSame(size, -1, 'committed_size');
      },
    },
    {
      ids: ['BS-48'],
      title: `${compressor}: half an upload is no progress that could be resumed`,
      run: async (api) => {
        const blob = api.blob(BLOB_BYTES);
        const name = api.writeName(blob.digest, compressor);
        const pieces = thirdsOf(packed(compressor, blob.bytes)).slice(0, 2);
        await api.write(name, pieces).catch(() => {});
        const { committedSize, complete } = await api.queryWrite(name);
        expectSame([committedSize, complete], [0, false], 'committed_size and complete');
        await api.expectAbsent(blob, 'half an upload');
      },
    },
  ];
}

function readProbesOf(compressor: Compressor): Probe[] {
  return [
    {
      ids: ['BS-14'],
      title: `${compressor}: the offset of a read counts bytes of the blob`,
      run: async (api) => {
        const { bytes, digest } = await storedBlob(api);
        const data = await api.read(api.readName(digest, compressor), { readOffset: 12_345 });
        expectBytes(unpacked(compressor, data), bytes.subarray(12_345), 'what is read');
      },
    },
    {
      ids: ['BS-15'],
      title: `${compressor}: a read with a limit is refused`,
      run: async (api) => {
        const { digest } = await storedBlob(api);
        const call = api.read(api.readName(digest, compressor), { readLimit: 1 });
        await expectRefusal(call, Code.INVALID_ARGUMENT, 'a read_limit of 1');
      },
    },
    {
      ids: ['BS-17'],
      title: `${compressor}: the empty blob is an empty stream`,
      run: async (api) => {
        const { digest } = api.blobOf(new Uint8Array());
        const data = await api.read(api.readName(digest, compressor));
        if (data.length === 0) return;
        expectSame(unpacked(compressor, data).length, 0, 'the size of the empty blob');
      },
    },
  ];
}

async function storedBlob(api: Api): Promise<Blob> {
  const blob = api.blobOf(api.random.packable(BLOB_BYTES));
  await api.put(blob);
  return blob;
}

/** That an upload is refused whose packed bytes were changed. */
async function expectRefused(
  api: Api,
  compressor: Compressor,
  what: string,
  change: (data: Buffer) => Buffer,
): Promise<void> {
  const blob = api.blobOf(api.random.packable(BLOB_BYTES));
  const data = change(packed(compressor, blob.bytes));
  const call = api.writeWhole(api.writeName(blob.digest, compressor), data);
  await expectRefusal(call, Code.INVALID_ARGUMENT, what);
  await api.expectAbsent(blob, 'the refusal');
}

function thirdsOf(data: Buffer): Piece[] {
  const third = Math.ceil(data.length / 3);
  return [0, 1, 2].map((i) => ({
    data: data.subarray(i * third, (i + 1) * third),
    writeOffset: i * third,
    finishWrite: i === 2,
  }));
}

/** A first message without data; then nothing until the server answers. */
async function* nothingYet(api: Api): AsyncGenerator<Piece> {
  yield {};
  await new Promise((resolve) => api.signal.addEventListener('abort', resolve));
}
