import { Code } from '../base/status.ts';
import { Digest } from '../digest/digest.ts';
import { type Api, piecesOf } from './api.ts';
import { expectBytes, expectRefusal, expectSame, expectThat, NotApplicable } from './expect.ts';
import { aCache } from './needs.ts';
import type { Area } from './probe.ts';

/** Of a blob of 20,000 bytes, in two messages. */
const PIECE_BYTES = 10_000;

export const writeProbes: Area = {
  name: 'byte-stream-write',
  needs: [aCache],
  probes: [
    {
      ids: ['BS-37', 'BS-31'],
      title: 'a Write in two messages ends with the size of the blob',
      run: async (api) => {
        const blob = api.blob(20_000);
        const size = await api.write(api.writeName(blob.digest), piecesOf(blob.bytes, PIECE_BYTES));
        expectSame(size, 20_000, 'committed_size');
        await api.expectPresent(blob, 'the Write');
        expectBytes(await api.read(api.readName(blob.digest)), blob.bytes, 'the blob');
      },
    },
    {
      ids: ['BS-01', 'BS-02'],
      title: 'the name of a read, or of nothing, is none for writing',
      run: async (api) => {
        const { bytes, digest } = api.blob();
        for (const name of [api.readName(digest), 'uploads', `uploads/x/blobs/${digest.hash}`]) {
          const call = api.writeWhole(name, bytes);
          await expectRefusal(call, Code.INVALID_ARGUMENT, `the name ${name}`);
        }
        await api.expectAbsent({ bytes, digest }, 'the refusals');
      },
    },
    {
      ids: ['BS-06'],
      title: 'anything may follow the size in the name of a Write',
      run: async (api) => {
        const { bytes, digest } = api.blob();
        await api.writeWhole(`${api.writeName(digest)}/foo/blobs/x`, bytes);
        await api.expectPresent({ bytes, digest }, 'the Write');
      },
    },
    {
      ids: ['BS-07'],
      title: 'one upload id serves several blobs, and need not be a UUID',
      run: async (api) => {
        for (const id of [api.random.uuid(), 'no-uuid']) {
          for (let i = 0; i < 3; i++) {
            const blob = api.blob();
            await api.writeWhole(api.writeName(blob.digest, 'identity', id), blob.bytes);
            await api.expectPresent(blob, `a Write under the id ${id}`);
          }
        }
      },
    },
    {
      ids: ['BS-30'],
      title: 'a Write whose first message has no name is refused',
      run: async (api) => {
        const { bytes } = api.blob();
        await expectRefusal(api.writeWhole('', bytes), Code.INVALID_ARGUMENT, 'no resource_name');
      },
    },
    {
      ids: ['BS-30'],
      title: 'later messages may repeat the name, and not change it',
      run: async (api) => {
        const [blob, other] = [api.blob(20_000), api.blob(20_000)];
        const name = api.writeName(blob.digest);
        const [first, second] = piecesOf(blob.bytes, PIECE_BYTES);
        await api.write(name, [{ ...first }, { ...second, resourceName: name }]);
        await api.expectPresent(blob, 'a Write that repeats its name');
        const pieces = piecesOf(other.bytes, PIECE_BYTES);
        const resourceName = api.writeName(api.blob(20_000).digest);
        const call = api.write(api.writeName(other.digest), [
          { ...pieces[0] },
          { ...pieces[1], resourceName },
        ]);
        await expectRefusal(call, Code.INVALID_ARGUMENT, 'a name that changes');
        await api.expectAbsent(other, 'the refusal');
      },
    },
    {
      ids: ['BS-31'],
      title: 'a second offset that does not follow the first message is refused',
      run: async (api) => {
        const blob = api.blob(20_000);
        const [first, second] = piecesOf(blob.bytes, PIECE_BYTES);
        const call = api.write(api.writeName(blob.digest), [
          { ...first },
          { ...second, writeOffset: PIECE_BYTES + 1 },
        ]);
        await expectRefusal(call, Code.INVALID_ARGUMENT, 'an offset that is one too large');
        await api.expectAbsent(blob, 'the refusal');
      },
    },
    {
      ids: ['BS-33'],
      title: 'the last message may be one without data',
      run: async (api) => {
        const blob = api.blob();
        const { length } = blob.bytes;
        const last = { writeOffset: length, finishWrite: true };
        await api.write(api.writeName(blob.digest), [{ data: blob.bytes }, last]);
        await api.expectPresent(blob, 'a finish_write of its own');
      },
    },
    {
      ids: ['BS-34'],
      title: 'without finish_write a blob is not there, even with all its bytes',
      run: async (api) => {
        const blob = api.blob();
        // With the committed size or an error: both are allowed.
        await api.write(api.writeName(blob.digest), [{ data: blob.bytes }]).catch(() => {});
        await api.expectAbsent(blob, 'a Write without finish_write');
      },
    },
    {
      ids: ['BS-35'],
      title: 'a Write of too few bytes is refused',
      run: async (api) => {
        const blob = api.blob();
        const call = api.writeWhole(api.writeName(blob.digest), blob.bytes.subarray(1));
        await expectRefusal(call, Code.INVALID_ARGUMENT, 'one byte too few');
        await api.expectAbsent(blob, 'the refusal');
      },
    },
    {
      ids: ['BS-36'],
      title: 'a Write of too many bytes is refused before it ends',
      run: async (api) => {
        const blob = api.blob();
        const data = Buffer.concat([blob.bytes, Buffer.from('x')]);
        const call = api.write(api.writeName(blob.digest), thenNothing(api, data));
        await expectRefusal(call, Code.INVALID_ARGUMENT, 'one byte too many, and no end');
        await api.expectAbsent(blob, 'the refusal');
      },
    },
    {
      ids: ['BS-39', 'BS-40'],
      title: 'a Write of a blob that is there is answered with its size, before it ends',
      run: async (api) => {
        const blob = api.blob(20_000);
        await api.put(blob);
        const pieces = thenNothing(api, blob.bytes.subarray(0, 100));
        const size = await api.write(api.writeName(blob.digest), pieces);
        expectSame(size, 20_000, 'committed_size');
      },
    },
    {
      ids: ['BS-43', 'CAP-15', 'ERR-03'],
      title: 'a Write above max_cas_blob_size_bytes is refused by its name',
      run: async (api) => {
        const { maxCasBlobSizeBytes: max } = api.tested.cache;
        if (max === 0) throw new NotApplicable('blobs have no limit');
        const { bytes, digest } = api.blob();
        const large = Digest.of(digest.function, digest.hash, max + 1);
        const call = api.write(api.writeName(large), thenNothing(api, bytes));
        await expectRefusal(call, Code.INVALID_ARGUMENT, `a blob of ${max + 1} bytes`);
      },
    },
    {
      ids: ['BS-46'],
      title: 'an upload that was cut begins again at 0, under the same name and another',
      run: async (api) => {
        const blob = api.blob(20_000);
        const name = api.writeName(blob.digest);
        await cutInHalf(api, name, blob.bytes);
        const size = await api.write(name, piecesOf(blob.bytes, PIECE_BYTES));
        expectSame(size, 20_000, 'committed_size');
        await api.expectPresent(blob, 'the second attempt');
        const other = api.blob(20_000);
        await cutInHalf(api, api.writeName(other.digest), other.bytes);
        await api.write(api.writeName(other.digest), piecesOf(other.bytes, PIECE_BYTES));
        await api.expectPresent(other, 'the attempt under another name');
      },
    },
    {
      ids: ['BS-45', 'BS-60'],
      title: 'an upload that was cut goes on where the server says it stopped',
      run: async (api) => {
        const blob = api.blob(20_000);
        const name = api.writeName(blob.digest);
        await cutInHalf(api, name, blob.bytes);
        const { committedSize: writeOffset, complete } = await api.queryWrite(name);
        expectSame(complete, false, 'complete of half an upload');
        const isPart = writeOffset >= 0 && writeOffset <= PIECE_BYTES;
        expectThat(isPart, `a committed_size of at most ${PIECE_BYTES}`, writeOffset);
        const rest = blob.bytes.subarray(writeOffset);
        const size = await api.write(name, [{ data: rest, writeOffset, finishWrite: true }]);
        expectSame(size, 20_000, 'committed_size');
        expectBytes(await api.read(api.readName(blob.digest)), blob.bytes, 'the blob');
      },
    },
    {
      ids: ['BS-47'],
      title: 'an upload that begins in the middle is refused',
      run: async (api) => {
        const blob = api.blob();
        const data = blob.bytes.subarray(5);
        const call = api.write(api.writeName(blob.digest), [
          { data, writeOffset: 5, finishWrite: true },
        ]);
        const codes = [Code.OUT_OF_RANGE, Code.INVALID_ARGUMENT];
        await expectRefusal(call, codes, 'a first offset of 5');
        await api.expectAbsent(blob, 'the refusal');
      },
    },
    {
      ids: ['BS-49', 'CAS-18'],
      title: 'the empty blob is written in one message without data',
      run: async (api) => {
        const { digest } = api.blobOf(new Uint8Array());
        const size = await api.write(api.writeName(digest), [{ finishWrite: true }]);
        expectSame(size, 0, 'committed_size');
      },
    },
    {
      ids: ['BS-42', 'CAS-63'],
      title: 'twenty uploads of one blob at once succeed, in batches and streams',
      run: async (api) => {
        const blob = api.blob(20_000);
        const uploads = Array.from({ length: 10 }, () => [
          api.put(blob),
          api.write(api.writeName(blob.digest), piecesOf(blob.bytes, PIECE_BYTES)),
        ]);
        await Promise.all(uploads.flat());
        expectBytes(await api.read(api.readName(blob.digest)), blob.bytes, 'the blob');
      },
    },
    {
      ids: ['BS-61'],
      title: 'the state of an upload is complete when the blob is there, whoever uploaded it',
      run: async (api) => {
        const blob = api.blob();
        await api.put(blob);
        const { committedSize, complete } = await api.queryWrite(api.writeName(blob.digest));
        expectSame([committedSize, complete], [1000, true], 'committed_size and complete');
      },
    },
    {
      ids: ['BS-62'],
      title: 'the state of an upload that never came is 0 and not complete, as Bazel needs it',
      run: async (api) => {
        const name = api.writeName(api.blob().digest);
        const { committedSize, complete } = await api.queryWrite(name);
        expectSame([committedSize, complete], [0, false], 'committed_size and complete');
      },
    },
    {
      ids: ['BS-63'],
      title: 'the state of what is no upload is refused',
      run: async (api) => {
        for (const name of [api.readName(api.blob().digest), 'nonsense']) {
          await expectRefusal(api.queryWrite(name), Code.INVALID_ARGUMENT, `the name ${name}`);
        }
      },
    },
  ],
};

/** Data without an end; the call is open until the server answers. */
async function* thenNothing(api: Api, data: Uint8Array) {
  yield { data };
  await new Promise((resolve) => api.signal.addEventListener('abort', resolve));
}

/** Half an upload, that ends without finish_write. */
async function cutInHalf(api: Api, name: string, bytes: Uint8Array): Promise<void> {
  await api.write(name, piecesOf(bytes, PIECE_BYTES).slice(0, 1)).catch(() => {});
}
