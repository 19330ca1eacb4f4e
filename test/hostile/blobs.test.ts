import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import { Code } from '../../src/base/status.ts';
import { allDigestFunctions, sha256 } from '../../src/digest/digest-functions.ts';
import { Digest } from '../../src/digest/digest.ts';
import {
  Compressor_Value,
  type DeepPartial,
  Directory,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import type { WriteRequest } from '../../src/proto/google/bytestream/bytestream.ts';
import type { ApiClient } from '../support/api-client.ts';
import { type Blob, blobOf } from '../support/blob-of.ts';
import { codeOf, startHostile } from './rig.ts';

const blob = blobOf('what the digest says');
const { digest, bytes } = blob;
const invalid = { code: Code.INVALID_ARGUMENT };

/** Each way to upload, which gets bytes that need not be those of the digest. */
const uploads: Readonly<Record<string, (client: ApiClient, data: Uint8Array) => Promise<unknown>>> =
  {
    BatchUpdateBlobs: async (client, data) => {
      const requests = [{ digest: digest.toMessage(), data }];
      const { responses } = await client.batchUpdate({ requests });
      const { status } = responses[0] ?? {};
      if (status?.code !== Code.OK) throw Object.assign(new Error(status?.message), status);
    },
    Write: (client, data) => client.write(`uploads/u/blobs/${digest}`, data),
    'Write of zstd': (client, data) =>
      client.write(`uploads/u/compressed-blobs/zstd/${digest}`, zstdCompressSync(data)),
    SpliceBlob: async (client, data) => {
      const chunk = blobOf(data);
      await client.put(chunk);
      const chunkDigests = [chunk.digest.toMessage()];
      await client.spliceBlob({ blobDigest: digest.toMessage(), chunkDigests });
    },
  };

test('an upload', async (t) => {
  const hostile = await startHostile(t);

  for (const [way, upload] of Object.entries(uploads)) {
    for (const [flaw, data] of [
      ['CI-01: of other bytes', Buffer.from(bytes).fill('x')],
      ['CI-02: of a byte too little', bytes.subarray(1)],
      ['CI-02: of a byte too much', Buffer.concat([bytes, Buffer.from('x')])],
    ] as const) {
      await t.test(`${flaw} by ${way} is INVALID_ARGUMENT, and nothing is left of it`, async () => {
        const { client, isMissing, incoming } = hostile;
        await assert.rejects(upload(client, data), invalid);
        assert.ok(await isMissing(blob));
        assert.deepEqual(incoming(), []);
      });
    }
  }

  await t.test('CI-13: of two blobs under one name mixes nothing', async () => {
    const { client } = hostile;
    const all = [blobOf('one'.repeat(20_000)), blobOf('two'.repeat(30_000))];
    await Promise.all(
      all.map((one) => client.write(`uploads/u/blobs/${one.digest}`, one.bytes, 999)),
    );
    for (const one of all) assert.deepEqual(await client.read(`blobs/${one.digest}`), one.bytes);
  });

  await t.test('CI-16: one bad blob of a hundred, in mixed compressors, fails alone', async () => {
    const { client } = hostile;
    const requests = Array.from({ length: 100 }, (_, n) => {
      const one = blobOf(`blob ${n}`);
      const isPacked = n % 3 === 0;
      return {
        digest: one.digest.toMessage(),
        data: isPacked ? zstdCompressSync(one.bytes) : n === 50 ? Buffer.from('x') : one.bytes,
        compressor: isPacked ? Compressor_Value.ZSTD : Compressor_Value.IDENTITY,
      };
    });
    const { responses } = await client.batchUpdate({ requests });
    const failed = responses.flatMap(({ status }, n) => (status?.code === Code.OK ? [] : [n]));
    assert.deepEqual(failed, [50]);
    assert.equal(responses.length, 100);
    const blobDigests = requests.map((request) => request.digest);
    const { missingBlobDigests } = await client.findMissing({ blobDigests });
    const hashes = missingBlobDigests.map(({ hash }) => hash);
    assert.deepEqual(hashes, [blobDigests[50]?.hash]);
  });
});

test('CI-16: a batch of 100,001 blobs, whose answer no client takes, is INVALID_ARGUMENT', async (t) => {
  const { client } = await startHostile(t);
  const request = { digest: digest.toMessage(), data: bytes.subarray(0, 1) };
  const requests = Array.from({ length: 100_001 }, () => request);
  await assert.rejects(client.batchUpdate({ requests }), invalid);
});

/** A digest that cannot be, in every request that has one; each refuses it. */
async function assertRefused(client: ApiClient, bad: { hash: string; sizeBytes: number }) {
  const calls: Readonly<Record<string, Promise<unknown>>> = {
    findMissing: client.findMissing({ blobDigests: [bad] }),
    getTree: client.getTree({ rootDigest: bad }),
    split: client.splitBlob({ blobDigest: bad }),
    splice: client.spliceBlob({ blobDigest: bad, chunkDigests: [digest.toMessage()] }),
    spliceOf: client.spliceBlob({ blobDigest: digest.toMessage(), chunkDigests: [bad] }),
    get: client.getActionResult({ actionDigest: bad }),
    update: client.updateActionResult({ actionDigest: bad, actionResult: {} }),
    execute: client.run({ actionDigest: bad }),
    read: client.read(`blobs/${bad.hash}/${bad.sizeBytes}`),
    write: client.write(`uploads/u/blobs/${bad.hash}/${bad.sizeBytes}`, bytes),
    status: client.queryWriteStatus(`uploads/u/blobs/${bad.hash}/${bad.sizeBytes}`),
  };
  for (const [name, call] of Object.entries(calls)) {
    assert.equal(await codeOf(call), Code.INVALID_ARGUMENT, name);
  }
  const requests = [{ digest: bad, data: bytes }];
  const { responses } = await client.batchUpdate({ digestFunction: sha256.value, requests });
  assert.equal(responses[0]?.status?.code, Code.INVALID_ARGUMENT, 'batchUpdate');
  const read = await codeOf(
    client
      .batchRead({ digestFunction: sha256.value, digests: [bad] })
      .then(({ responses: [answer] }) => {
        throw Object.assign(new Error('told'), { code: answer?.status?.code });
      }),
  );
  assert.equal(read, Code.INVALID_ARGUMENT, 'batchRead');
}

test('a digest', async (t) => {
  const hostile = await startHostile(t);

  const { hash } = digest;
  for (const [what, bad] of [
    ['in upper case', hash.toUpperCase()],
    ['of mixed case', hash.slice(0, 63) + 'A'],
    ['a character short', hash.slice(1)],
    ['a character long', `${hash}0`],
    ['that is no hex', hash.replace(/.$/, 'g')],
    ['of full-width digits', hash.replace(/.$/, '０')],
    ['with a slash in it', `${hash.slice(0, 31)}/${hash.slice(32)}`],
    ['that is a path', '../'.repeat(21) + 'x'],
    ['with a NUL', `${hash.slice(0, 63)}\0`],
  ] as const) {
    await t.test(`CI-04: ${what} is INVALID_ARGUMENT in every request`, async () => {
      const { client, incoming } = hostile;
      await client.put(blob);
      await assertRefused(client, { hash: bad, sizeBytes: digest.sizeBytes });
      assert.deepEqual(incoming(), []);
    });
  }

  await t.test('CI-03: of a negative size is INVALID_ARGUMENT in every request', async () => {
    const { client } = hostile;
    await client.put(blob);
    await assertRefused(client, { hash, sizeBytes: -1 });
  });

  await t.test('CI-03: whose size no double holds is INVALID_ARGUMENT, never rounded', async () => {
    const { wire } = hostile;
    for (const sizeBytes of [2n ** 53n, 2n ** 53n + 1n, 2n ** 63n - 1n]) {
      const varint: number[] = [];
      let rest = sizeBytes;
      for (; rest > 127n; rest >>= 7n) varint.push(Number(rest & 127n) | 128);
      const size = Buffer.from([0x10, ...varint, Number(rest)]);
      const message = Buffer.concat([Buffer.from([0x0a, 64]), Buffer.from(hash), size]);
      const request = Buffer.concat([Buffer.from([0x12, message.length]), message]);
      const path = '/build.bazel.remote.execution.v2.ContentAddressableStorage/FindMissingBlobs';
      assert.equal(await codeOf(wire.raw(path, request)), Code.INVALID_ARGUMENT, `${sizeBytes}`);
      const name = { path: '/google.bytestream.ByteStream/Read', at: `blobs/${hash}/${sizeBytes}` };
      const named = Buffer.concat([Buffer.from([0x0a, name.at.length]), Buffer.from(name.at)]);
      const read = Array.fromAsync(wire.rawStream(name.path, named));
      assert.equal(await codeOf(read), Code.INVALID_ARGUMENT, name.at);
    }
  });
});

const large = blobOf(Buffer.alloc(2_500_000, 'a large blob; '));
const folder = blobOf(
  Directory.encode(
    Directory.fromPartial({ symlinks: [{ name: 'l', target: 'somewhere else' }] }),
  ).finish(),
);

const harms: Readonly<Record<string, (file: string, size: number) => void>> = {
  'a bit of its first byte flipped': (file) => flipBit(file, 0),
  'a bit in its middle flipped': (file, size) => flipBit(file, Math.floor(size / 2)),
  'a bit of its last byte flipped': (file, size) => flipBit(file, size - 1),
  'a byte less': (file, size) => truncateSync(file, size - 1),
  'a byte more': (file) => writeFileSync(file, 'x', { flag: 'a' }),
  'a folder in its place': (file) => {
    rmSync(file);
    mkdirSync(file);
  },
};

function flipBit(file: string, at: number): void {
  const content = readFileSync(file);
  content[at] = (content[at] ?? 0) ^ 1;
  writeFileSync(file, content);
}

/** Each way to read; rejects when the blob does not come whole. */
const reads: Readonly<Record<string, (client: ApiClient, one: Blob) => Promise<unknown>>> = {
  Read: (client, one) => client.read(`blobs/${one.digest}`),
  'Read of zstd': (client, one) => client.read(`compressed-blobs/zstd/${one.digest}`),
  BatchReadBlobs: async (client, one) => {
    const { responses } = await client.batchRead({ digests: [one.digest.toMessage()] });
    const { status } = responses[0] ?? {};
    if (status?.code !== Code.OK) throw Object.assign(new Error(status?.message), status);
  },
  GetTree: (client, one) => client.getTree({ rootDigest: one.digest.toMessage() }),
};

test('a stored blob', async (t) => {
  const hostile = await startHostile(t);

  for (const [harm, damage] of Object.entries(harms)) {
    await t.test(`CI-05: with ${harm} is never read whole, and is missing then`, async () => {
      const { client, fileOf, isMissing } = hostile;
      for (const [way, read] of Object.entries(reads)) {
        const one = way === 'GetTree' ? folder : large;
        await client.put(one);
        await read(client, one);
        const file = fileOf(one);
        // Nobody may write it but root.
        chmodSync(file, 0o644);
        damage(file, one.bytes.length);
        const code = await codeOf(read(client, one));
        assert.ok(code === Code.INTERNAL || code === Code.NOT_FOUND, `CI-06, ${way}: ${code}`);
        assert.equal(await codeOf(read(client, one)), Code.NOT_FOUND, way);
        assert.ok(await isMissing(one), way);
      }
    });
  }
});

test('RAC-02: a result whose small output is gone is NOT_FOUND, also where it would be inlined', async (t) => {
  const { client, fileOf } = await startHostile(t);
  const one = blobOf('a small output');
  await client.put(one);
  const stdoutDigest = one.digest.toMessage();
  const actionDigest = blobOf('an action').digest.toMessage();
  const actionResult = { stdoutDigest, outputFiles: [{ path: 'a', digest: stdoutDigest }] };
  await client.updateActionResult({ actionDigest, actionResult });
  const hints = { actionDigest, inlineStdout: true, inlineOutputFiles: ['a'] };
  const { stdoutRaw, outputFiles } = await client.getActionResult(hints);
  for (const inlined of [stdoutRaw, outputFiles[0]?.contents ?? []]) {
    assert.equal(Buffer.from(inlined).toString(), 'a small output');
  }
  rmSync(fileOf(one));
  assert.equal(await codeOf(client.getActionResult(hints)), Code.NOT_FOUND);
});

test('the empty blob', async (t) => {
  const names = allDigestFunctions.map(({ name }) => name);
  const toml = `[digest]\nfunctions = ${JSON.stringify(names)}`;
  const hostile = await startHostile(t, toml);

  await t.test('CI-07: is there in every digest function, and takes no upload', async () => {
    const { client, fileOf } = hostile;
    for (const digestFunction of allDigestFunctions) {
      const empty = Digest.ofBytes(digestFunction, Buffer.of());
      const message = empty.toMessage();
      const common = { digestFunction: digestFunction.value };
      const { missingBlobDigests } = await client.findMissing({
        ...common,
        blobDigests: [message],
      });
      assert.deepEqual(missingBlobDigests, [], digestFunction.name);
      const { responses } = await client.batchRead({ ...common, digests: [message] });
      assert.equal(responses[0]?.status?.code, Code.OK);
      assert.equal(responses[0].data.length, 0);
      const pages = await client.getTree({ ...common, rootDigest: message });
      assert.equal(pages.flatMap(({ directories }) => directories).length, 1);
      assert.equal((await client.read(`blobs/${empty}`)).length, 0);
      const actionResult = { stdoutDigest: message };
      await client.updateActionResult({ ...common, actionDigest: message, actionResult });
      assert.ok(fileOf({ digest: empty, bytes: Buffer.of() }).endsWith('cas'), 'no file of it');
    }
  });
});

const packed = (data: Uint8Array): Buffer => zstdCompressSync(data);
const writePacked = (client: ApiClient, one: Blob, data: Uint8Array) =>
  client.write(`uploads/u/compressed-blobs/zstd/${one.digest}`, data);

test('zstd', async (t) => {
  const hostile = await startHostile(t);

  // Magic number, a descriptor that tells of a window of 2^41 bytes, an empty raw block, the last.
  const giantWindow = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x01, 0x00, 0x00]);
  // The same magic number; dictionary 7, one segment, a raw block of one byte.
  const dictionary = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x21, 7, 1, 0x09, 0x00, 0x00, 0x78]);
  for (const [what, data] of [
    ['with a window of 2 TiB', giantWindow],
    ['that needs a dictionary', dictionary],
    ['cut short', packed(large.bytes).subarray(0, -5)],
    ['with garbage behind it', Buffer.concat([packed(large.bytes), Buffer.from('garbage')])],
    ['of less than the digest says', packed(large.bytes.subarray(1))],
    ['of more than the digest says', packed(Buffer.concat([large.bytes, Buffer.from('x')]))],
  ] as const) {
    await t.test(`CI-09: ${what} is INVALID_ARGUMENT, and leaves nothing`, async () => {
      const { client, isMissing, incoming } = hostile;
      await assert.rejects(writePacked(client, large, data), invalid);
      assert.ok(await isMissing(large));
      assert.deepEqual(incoming(), []);
    });
  }

  await t.test(
    'CI-10: offsets of an upload count packed bytes; one that is there is answered -1',
    async () => {
      const { client } = hostile;
      const data = packed(large.bytes);
      const name = `uploads/u/compressed-blobs/zstd/${large.digest}`;
      const [one, two] = [data.subarray(0, 100), data.subarray(100)];
      const messages = (writeOffset: number): DeepPartial<WriteRequest>[] => [
        { data: one },
        { data: two, writeOffset, finishWrite: true },
      ];
      await assert.rejects(client.writeMessages(name, messages(101)), invalid);
      assert.equal(await client.writeMessages(name, messages(100)), data.length);
      assert.equal(await client.writeMessages(name, messages(100)), -1);
    },
  );
});

test('Read', async (t) => {
  const hostile = await startHostile(t);

  await t.test('CI-17: from any edge gives exactly the bytes, or OUT_OF_RANGE', async () => {
    const { client } = hostile;
    await client.put(large);
    const size = large.bytes.length;
    for (const at of [0, 1, size - 1, size]) {
      assert.deepEqual(await client.read(`blobs/${large.digest}`, at), large.bytes.subarray(at));
    }
    for (const at of [size + 1, -1]) {
      await assert.rejects(client.read(`blobs/${large.digest}`, at), { code: Code.OUT_OF_RANGE });
    }
  });
});
