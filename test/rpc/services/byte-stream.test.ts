import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { chunksOf } from '../../../src/base/chunks.ts';
import { Code } from '../../../src/base/status.ts';
import { blake3 } from '../../../src/digest/digest-functions.ts';
import { Digest } from '../../../src/digest/digest.ts';
import { RequestMetadata } from '../../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  QueryWriteStatusRequest,
  QueryWriteStatusResponse,
  ReadRequest,
  ReadResponse,
  WriteRequest,
  WriteResponse,
} from '../../../src/proto/google/bytestream/bytestream.ts';
import { Instances } from '../../../src/rpc/instances.ts';
import { defaultInstanceLimits } from '../../../src/rpc/limits.ts';
import { byteStream } from '../../../src/rpc/services/byte-stream.ts';
import { blobOf } from '../../support/blob-of.ts';
import { packings } from '../../support/packings.ts';
import { never } from '../../support/never.ts';
import { startServer } from '../../support/start-server.ts';
import type { CallOptions } from '../../support/test-client.ts';
import { testInstance } from '../../support/test-instance.ts';

const path = '/google.bytestream.ByteStream';
const text = 'the quick brown fox jumps over the lazy dog. '.repeat(1000);
const { digest, bytes } = blobOf(text);
const size = digest.sizeBytes;
const plainName = `uploads/u/blobs/${digest}`;
const zstdName = writeNameIn('zstd');
const invalid = { code: Code.INVALID_ARGUMENT };

function writeNameIn(compressor: string): string {
  return `uploads/u/compressed-blobs/${compressor}/${digest}`;
}

type Message = Partial<Pick<WriteRequest, 'resourceName' | 'writeOffset' | 'finishWrite' | 'data'>>;

function packedAs(compressor: string, data: Uint8Array): Message[] {
  return [{ resourceName: writeNameIn(compressor), data, finishWrite: true }];
}

async function start(t: TestContext) {
  const instance = testInstance({ limits: { ...defaultInstanceLimits, blobBytesMax: 2 ** 30 } });
  const { client } = await startServer(t, [byteStream(new Instances([instance]))]);
  const write = async (messages: readonly Message[], options: CallOptions = {}) => {
    const { call, response } = client.clientStream(
      `${path}/Write`,
      WriteRequest,
      WriteResponse,
      options,
    );
    for (const message of messages) call.write(WriteRequest.fromPartial(message));
    call.end();
    return (await response).committedSize;
  };
  return {
    instance,
    client,
    write,
    /** In messages of 10,000 bytes, as Bazel sends them. */
    upload: (resourceName: string, data: Uint8Array, options: CallOptions = {}) => {
      const messages: Message[] = [];
      for (let at = 0; at < data.length; at += 10_000) {
        const piece = data.subarray(at, at + 10_000);
        const finishWrite = at + piece.length === data.length;
        messages.push({ writeOffset: at, data: piece, finishWrite });
      }
      messages[0] = { ...messages[0], resourceName };
      return write(messages, options);
    },
    put: () => instance.blobs.write(digest, chunksOf(bytes), never),
    isPresent: async () => (await instance.blobs.findMissing([digest], never)).length === 0,
    read: async (
      resourceName: string,
      range: { readOffset?: number; readLimit?: number } = {},
      options: CallOptions = {},
    ) => {
      const responses = await Array.fromAsync(
        client.serverStream(
          `${path}/Read`,
          ReadRequest,
          ReadResponse,
          ReadRequest.fromPartial({ resourceName, ...range }),
          options,
        ),
      );
      return Buffer.concat(responses.map(({ data }) => data));
    },
    query: (resourceName: string) =>
      client.unary(`${path}/QueryWriteStatus`, QueryWriteStatusRequest, QueryWriteStatusResponse, {
        resourceName,
      }),
  };
}

const toolOptions = (toolName: string): CallOptions => ({
  metadata: {
    'build.bazel.remote.execution.v2.requestmetadata-bin': Buffer.from(
      RequestMetadata.encode(RequestMetadata.fromPartial({ toolDetails: { toolName } })).finish(),
    ),
  },
});

describe('Read', () => {
  it('CI-17, BS-10, BS-12, BS-13: gives the bytes from an offset up to a limit', async (t) => {
    const { put, read } = await start(t);
    await put();
    const name = `blobs/${digest}`;
    assert.equal((await read(name)).toString(), text);
    assert.equal(
      (await read(name, { readOffset: 10, readLimit: 5 })).toString(),
      text.slice(10, 15),
    );
    assert.equal(
      (await read(name, { readOffset: 10, readLimit: size })).toString(),
      text.slice(10),
    );
    assert.equal((await read(name, { readOffset: size })).length, 0);
    assert.equal((await read(`/${name}`)).length, size, 'GEN-03: moon sends a leading slash');
    for (const readOffset of [-1, size + 1]) {
      await assert.rejects(read(name, { readOffset }), { code: Code.OUT_OF_RANGE });
    }
    await assert.rejects(read(name, { readLimit: -1 }), invalid);
  });

  it('BS-11, DIG-02: an absent blob, or one of another size or function, is NOT_FOUND', async (t) => {
    const { put, read } = await start(t);
    await put();
    for (const name of [
      `blobs/${blobOf('absent').digest}`,
      `blobs/${digest.hash}/${size + 1}`,
      `blobs/blake3/${digest}`,
      `compressed-blobs/zstd/${blobOf('absent').digest}`,
    ]) {
      await assert.rejects(read(name), { code: Code.NOT_FOUND }, name);
    }
  });

  for (const { compressor, unpack } of packings) {
    it(`BS-14, BS-15: ${compressor} counts the offset in uncompressed bytes`, async (t) => {
      const { put, read } = await start(t);
      await put();
      const name = `compressed-blobs/${compressor}/${digest}`;
      assert.equal(unpack(await read(name)).toString(), text);
      const tail = await read(name, { readOffset: 1000 });
      assert.equal(unpack(tail).toString(), text.slice(1000));
      assert.equal(unpack(await read(name, { readOffset: size })).length, 0);
      await assert.rejects(read(name, { readLimit: 1 }), invalid);
      for (const readOffset of [-1, size + 1]) {
        await assert.rejects(read(name, { readOffset }), { code: Code.OUT_OF_RANGE });
      }
    });
  }

  it('BS-17: the empty blob reads as nothing, or as nothing compressed', async (t) => {
    const { read } = await start(t);
    const { digest: empty } = blobOf('');
    assert.equal((await read(`blobs/${empty}`)).length, 0);
    for (const { compressor, unpack } of packings) {
      assert.equal(unpack(await read(`compressed-blobs/${compressor}/${empty}`)).length, 0);
    }
  });

  it('BS-18: messages are well under 4 MiB', async (t) => {
    const { instance, client } = await start(t);
    const large = blobOf(Buffer.alloc(5 * 2 ** 20, 'x'));
    await instance.blobs.write(large.digest, chunksOf(large.bytes), never);
    const request = ReadRequest.fromPartial({ resourceName: `blobs/${large.digest}` });
    const responses = await Array.fromAsync(
      client.serverStream(`${path}/Read`, ReadRequest, ReadResponse, request),
    );
    assert.ok(responses.every(({ data }) => data.length <= 2 ** 20));
  });

  for (const [what, name] of [
    ['BS-01: nothing', ''],
    ['BS-02: a name for writing', plainName],
    ['BS-03: an old function as a segment', `blobs/sha256/${digest}`],
    ['BS-06: metadata', `blobs/${digest}/x`],
    ['BS-08: identity', `compressed-blobs/identity/${digest}`],
    ['BS-16, CMP-08: a compressor not announced', `compressed-blobs/gzip/${digest}`],
    ['GEN-04: an unknown instance', `nope/blobs/${digest}`],
    ['DIG-01: an upper-case hash', `blobs/${digest.hash.toUpperCase()}/${size}`],
  ] as const) {
    it(`${what} is INVALID_ARGUMENT`, async (t) => {
      const { read } = await start(t);
      await assert.rejects(read(name), invalid);
    });
  }

  it('BS-09: a header that names another resource is refused', async (t) => {
    const { put, read } = await start(t);
    await put();
    const name = `blobs/${digest}`;
    const header = 'build.bazel.remote.execution.v2.resource-name';
    await read(name, {}, { metadata: { [header]: name } });
    await assert.rejects(read(name, {}, { metadata: { [header]: `${name}0` } }), invalid);
  });
});

describe('Write', () => {
  it('BS-30, BS-37: stores the blob and answers its size', async (t) => {
    const { upload, isPresent } = await start(t);
    assert.equal(await upload(plainName, bytes), size);
    assert.ok(await isPresent());
  });

  it('BS-06: takes metadata after the size', async (t) => {
    const { upload } = await start(t);
    assert.equal(await upload(`${plainName}/foo/blobs/x`, bytes), size);
  });

  it('BS-03: takes a function that stands in the name', async (t) => {
    const { upload, read } = await start(t);
    const other = Digest.ofBytes(blake3, bytes);
    assert.equal(await upload(`uploads/u/blobs/${other}`, bytes), size);
    assert.equal((await read(`blobs/${other}`)).toString(), text);
  });

  it('CI-09, CI-10, BS-32, BS-38, CMP-04: takes zstd in several frames, and answers what was sent', async (t) => {
    const { upload, isPresent } = await start(t);
    const skippable = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 1, 2]);
    const data = Buffer.concat([
      zstdCompressSync(bytes.subarray(0, 100)),
      skippable,
      zstdCompressSync(bytes.subarray(100)),
    ]);
    assert.equal(await upload(zstdName, data, toolOptions('bazel')), data.length);
    assert.ok(await isPresent());
  });

  for (const { compressor, pack } of packings) {
    it(`CMP-01, CMP-09, CAP-14, BS-05: what was sent as ${compressor} reads in every form`, async (t) => {
      const { upload, read } = await start(t);
      const data = pack(bytes);
      assert.equal(await upload(writeNameIn(compressor), data), data.length);
      assert.equal((await read(`blobs/${digest}`)).toString(), text);
      for (const { compressor: other, unpack } of packings) {
        assert.equal(unpack(await read(`compressed-blobs/${other}/${digest}`)).toString(), text);
      }
    });
  }

  for (const tool of ['siso', 're-client', 'remote-client']) {
    it(`BS-38: ${tool} is answered the size of the blob`, async (t) => {
      const { upload } = await start(t);
      assert.equal(await upload(zstdName, zstdCompressSync(bytes), toolOptions(tool)), size);
    });
  }

  it('CI-11, BS-33: finish_write may come alone, as from Siso, but nothing after it', async (t) => {
    const { write } = await start(t);
    const first = { resourceName: plainName, data: bytes };
    await assert.rejects(write([{ ...first, finishWrite: true }, { writeOffset: size }]), invalid);
    assert.equal(await write([first, { writeOffset: size, finishWrite: true }]), size);
  });

  it('CI-11, BS-34: without finish_write nothing is stored, and the committed size is answered', async (t) => {
    const { write, isPresent } = await start(t);
    assert.equal(await write([{ resourceName: plainName, data: bytes }]), size);
    await assert.rejects(
      write([{ resourceName: zstdName, data: zstdCompressSync(bytes) }]),
      invalid,
    );
    assert.equal(await isPresent(), false);
  });

  it('BS-45, BS-60: an upload goes on where it was left', async (t) => {
    const { write, query, isPresent } = await start(t);
    assert.equal(await write([{ resourceName: plainName, data: bytes.subarray(0, 100) }]), 100);
    const { committedSize, complete } = await query(plainName);
    assert.deepEqual({ committedSize, complete }, { committedSize: 100, complete: false });
    const rest = { writeOffset: 100, data: bytes.subarray(100), finishWrite: true };
    assert.equal(await write([{ resourceName: plainName, ...rest }]), size);
    assert.ok(await isPresent());
  });

  it('BS-46: an upload that was left may begin again', async (t) => {
    const { write, upload } = await start(t);
    await write([{ resourceName: plainName, data: bytes.subarray(0, 100) }]);
    assert.equal(await upload(plainName, bytes), size);
  });

  it('BS-39, BS-40: a blob that is there is answered at once, while the client still sends', async (t) => {
    const { put, client } = await start(t);
    await put();
    for (const [resourceName, committed] of [
      [plainName, size],
      [zstdName, -1],
    ] as const) {
      const { call, response } = client.clientStream(`${path}/Write`, WriteRequest, WriteResponse);
      call.write(WriteRequest.fromPartial({ resourceName, data: bytes.subarray(0, 10) }));
      assert.equal((await response).committedSize, committed);
      call.write(WriteRequest.fromPartial({ writeOffset: 10, data: bytes.subarray(10) }));
      call.end();
    }
  });

  it('BS-39: a blob that another upload completes meanwhile is answered too', async (t) => {
    const { put, client } = await start(t);
    const { call, response } = client.clientStream(`${path}/Write`, WriteRequest, WriteResponse);
    call.write(WriteRequest.fromPartial({ resourceName: plainName, data: bytes.subarray(0, 10) }));
    await put();
    assert.equal((await response).committedSize, size, 'though the client is silent');
  });

  it('BS-43: a blob above the limit is refused by its name', async (t) => {
    const { write } = await start(t);
    const resourceName = `uploads/u/blobs/${digest.hash}/${2 ** 30 + 1}`;
    await assert.rejects(write([{ resourceName }]), invalid);
  });

  it('BS-42: one blob may be uploaded in every form at once', async (t) => {
    const { upload, read } = await start(t);
    const answers = await Promise.all([
      upload(`uploads/1/blobs/${digest}`, bytes),
      upload(`uploads/2/blobs/${digest}`, bytes),
      ...packings.map(({ compressor, pack }) => upload(writeNameIn(compressor), pack(bytes))),
    ]);
    assert.deepEqual(answers.slice(0, 2), [size, size]);
    assert.equal((await read(`blobs/${digest}`)).toString(), text);
  });

  it('CI-10, BS-48: of a compressed upload that was cut nothing is committed', async (t) => {
    const { write, query } = await start(t);
    const data = zstdCompressSync(bytes);
    await assert.rejects(write([{ resourceName: zstdName, data: data.subarray(0, 50) }]), invalid);
    const { committedSize, complete } = await query(zstdName);
    assert.deepEqual({ committedSize, complete }, { committedSize: 0, complete: false });
    assert.equal(await write([{ resourceName: zstdName, data, finishWrite: true }]), data.length);
  });

  it('BS-47: an upload that starts in the middle is OUT_OF_RANGE', async (t) => {
    const { write } = await start(t);
    for (const resourceName of [plainName, zstdName]) {
      await assert.rejects(write([{ resourceName, writeOffset: 5 }]), { code: Code.OUT_OF_RANGE });
    }
  });

  it('BS-49: the empty blob is written in one message', async (t) => {
    const { write } = await start(t);
    const resourceName = `uploads/u/blobs/${blobOf('').digest}`;
    assert.equal(await write([{ resourceName, finishWrite: true }]), 0);
  });

  const half = { resourceName: plainName, data: bytes.subarray(0, 10) };
  for (const [what, messages] of [
    ['CI-11: no request', []],
    ['CI-11, BS-30: no name', [{ data: bytes, finishWrite: true }]],
    ['CI-11, BS-30: a name that changes', [half, { resourceName: zstdName, writeOffset: 10 }]],
    ['CI-11, BS-31: a gap', [half, { writeOffset: 11, finishWrite: true }]],
    ['BS-31: an offset that stays 0', [half, { data: bytes.subarray(10), finishWrite: true }]],
    ['CI-02, BS-35: too few bytes', [{ ...half, finishWrite: true }]],
    [
      'CI-01, BS-35: other bytes',
      [{ resourceName: plainName, data: Buffer.alloc(size), finishWrite: true }],
    ],
    [
      'CI-02, BS-36: too many bytes, before the end',
      [{ resourceName: plainName, data: Buffer.alloc(size + 1) }],
    ],
    ['BS-02: a name for reading', [{ resourceName: `blobs/${digest}`, finishWrite: true }]],
    ['CMP-03: deflate in a wrapper of zlib', packedAs('deflate', deflateSync(bytes))],
    ['CMP-03: deflate in a wrapper of gzip', packedAs('deflate', gzipSync(bytes))],
    ...packings.flatMap(({ compressor, pack }): [string, Message[]][] => {
      const whole = pack(bytes);
      const followed = [
        { resourceName: writeNameIn(compressor), data: whole },
        { writeOffset: whole.length, data: Buffer.from('x'), finishWrite: true },
      ];
      return [
        [`CMP-06: ${compressor} of other bytes`, packedAs(compressor, pack(Buffer.alloc(size)))],
        [`CI-09, CMP-07: ${compressor} cut short`, packedAs(compressor, whole.subarray(0, -1))],
        [
          `CI-09, CMP-07: a byte after ${compressor}`,
          packedAs(compressor, Buffer.concat([whole, Buffer.from('x')])),
        ],
        [`CMP-07: a byte after ${compressor}, in its own message`, followed],
        [`no ${compressor} at all`, packedAs(compressor, bytes)],
        [`no bytes of ${compressor}`, packedAs(compressor, Buffer.alloc(0))],
      ];
    }),
  ] as [string, Message[]][]) {
    it(`${what} is INVALID_ARGUMENT, and nothing is stored`, async (t) => {
      const { write, isPresent } = await start(t);
      await assert.rejects(write(messages), invalid);
      assert.equal(await isPresent(), false);
    });
  }

  for (const { compressor, pack } of packings) {
    it(`CI-09, CMP-05: a ${compressor} bomb is refused without being unpacked`, async (t) => {
      const { write } = await start(t);
      const data = pack(Buffer.alloc(2 ** 28));
      const name = `uploads/u/compressed-blobs/${compressor}/${blobOf('0123456789').digest}`;
      const before = process.memoryUsage().arrayBuffers;
      await assert.rejects(write([{ resourceName: name, data, finishWrite: true }]), invalid);
      assert.ok(process.memoryUsage().arrayBuffers - before < 2 ** 26);
    });
  }

  it('GEN-16: a cancelled upload leaves nothing', async (t) => {
    const { client, isPresent, upload } = await start(t);
    const { call, response } = client.clientStream(`${path}/Write`, WriteRequest, WriteResponse);
    call.write(WriteRequest.fromPartial({ resourceName: plainName, data: bytes.subarray(0, 10) }));
    call.cancel();
    await assert.rejects(response, { code: Code.CANCELLED });
    assert.equal(await isPresent(), false);
    assert.equal(await upload(plainName, bytes), size, 'BS-46: and it can start again');
  });
});

describe('QueryWriteStatus', () => {
  it('BS-61, BS-62: a blob that is there is complete; an unknown upload has nothing', async (t) => {
    const { put, query } = await start(t);
    const status = async (name: string) => {
      const { committedSize, complete } = await query(name);
      return { committedSize, complete };
    };
    assert.deepEqual(await status(plainName), { committedSize: 0, complete: false });
    await put();
    assert.deepEqual(await status(plainName), { committedSize: size, complete: true });
    assert.deepEqual(await status(zstdName), { committedSize: size, complete: true });
  });

  it('BS-63: a malformed name is INVALID_ARGUMENT', async (t) => {
    const { query } = await start(t);
    for (const name of [`blobs/${digest}`, 'garbage', ''])
      await assert.rejects(query(name), invalid);
  });
});
