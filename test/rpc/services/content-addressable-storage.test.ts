import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import { chunksOf } from '../../../src/base/chunks.ts';
import { Code } from '../../../src/base/status.ts';
import { AnnouncedDigestFunctions } from '../../../src/digest/announced-digest-functions.ts';
import type { DigestFunction } from '../../../src/digest/digest-function.ts';
import { Digest } from '../../../src/digest/digest.ts';
import { allDigestFunctions, blake3, sha1, sha256 } from '../../../src/digest/digest-functions.ts';
import {
  BatchReadBlobsRequest,
  BatchReadBlobsResponse,
  BatchUpdateBlobsRequest,
  BatchUpdateBlobsResponse,
  Compressor_Value,
  Directory,
  FindMissingBlobsRequest,
  FindMissingBlobsResponse,
  GetTreeRequest,
  GetTreeResponse,
} from '../../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { Instances } from '../../../src/rpc/instances.ts';
import { contentAddressableStorage } from '../../../src/rpc/services/content-addressable-storage.ts';
import { blobOf } from '../../support/blob-of.ts';
import { packings } from '../../support/packings.ts';
import { seededRandom } from '../../support/seeded-random.ts';
import { never } from '../../support/never.ts';
import { startServer } from '../../support/start-server.ts';
import { testInstance } from '../../support/test-instance.ts';

const path = '/build.bazel.remote.execution.v2.ContentAddressableStorage';
const empty = blobOf('');
const defaults = [sha256, blake3, sha1];

async function start(t: TestContext, digestFunctions: readonly DigestFunction[] = defaults) {
  const instance = testInstance({ digestFunctions: new AnnouncedDigestFunctions(digestFunctions) });
  const other = testInstance({ name: 'a/b' });
  const { client } = await startServer(t, [
    contentAddressableStorage(new Instances([instance, other])),
  ]);
  const put = async (content: string | Uint8Array) => {
    const { digest, bytes } = blobOf(content);
    await instance.blobs.write(digest, chunksOf(bytes), never);
    return digest.toMessage();
  };
  return {
    instance,
    client,
    put,
    findMissing: async (request: Parameters<typeof FindMissingBlobsRequest.fromPartial>[0]) => {
      const { missingBlobDigests } = await client.unary(
        `${path}/FindMissingBlobs`,
        FindMissingBlobsRequest,
        FindMissingBlobsResponse,
        FindMissingBlobsRequest.fromPartial(request),
      );
      return missingBlobDigests.map(({ hash, sizeBytes }) => ({ hash, sizeBytes }));
    },
    update: async (request: Parameters<typeof BatchUpdateBlobsRequest.fromPartial>[0]) => {
      const { responses } = await client.unary(
        `${path}/BatchUpdateBlobs`,
        BatchUpdateBlobsRequest,
        BatchUpdateBlobsResponse,
        BatchUpdateBlobsRequest.fromPartial(request),
      );
      return responses;
    },
    read: async (request: Parameters<typeof BatchReadBlobsRequest.fromPartial>[0]) => {
      const { responses } = await client.unary(
        `${path}/BatchReadBlobs`,
        BatchReadBlobsRequest,
        BatchReadBlobsResponse,
        BatchReadBlobsRequest.fromPartial(request),
      );
      return responses;
    },
    getTree: (request: Parameters<typeof GetTreeRequest.fromPartial>[0]) =>
      Array.fromAsync(
        client.serverStream(
          `${path}/GetTree`,
          GetTreeRequest,
          GetTreeResponse,
          GetTreeRequest.fromPartial(request),
        ),
      ),
  };
}

const entry = (content: string | Uint8Array) => {
  const { digest, bytes } = blobOf(content);
  return { digest: digest.toMessage(), data: bytes };
};
const codes = (responses: readonly { readonly status: { readonly code: number } | undefined }[]) =>
  responses.map(({ status }) => status?.code);
const invalid = { code: Code.INVALID_ARGUMENT };

describe('FindMissingBlobs', () => {
  it('CAS-01, DIG-11: lists exactly what is absent, and never the empty blob', async (t) => {
    const { put, findMissing } = await start(t);
    const present = await put('present');
    const absent = blobOf('absent').digest.toMessage();
    const blobDigests = [present, absent, absent, empty.digest.toMessage()];
    assert.deepEqual(await findMissing({ blobDigests }), [absent]);
  });

  it('CAS-05: nothing asked, nothing missing', async (t) => {
    const { findMissing } = await start(t);
    assert.deepEqual(await findMissing({}), []);
  });

  it('CAS-06: answers for 60,000 digests', async (t) => {
    const { findMissing } = await start(t);
    const blobDigests = Array.from({ length: 60_000 }, (_, n) => ({
      hash: n.toString(16).padStart(64, '0'),
      sizeBytes: n + 1,
    }));
    assert.equal((await findMissing({ blobDigests })).length, 60_000);
  });

  it('CAS-08: a wrong size is missing, not an error', async (t) => {
    const { put, findMissing } = await start(t);
    const digest = await put('present');
    const wrong = { ...digest, sizeBytes: digest.sizeBytes + 1 };
    assert.deepEqual(await findMissing({ blobDigests: [wrong] }), [wrong]);
  });

  it('CI-15, DIG-10, GEN-05: other functions and instances know nothing of a blob', async (t) => {
    const { put, findMissing } = await start(t);
    const digest = await put('present');
    const blobDigests = [digest];
    assert.deepEqual(await findMissing({ blobDigests, digestFunction: blake3.value }), blobDigests);
    assert.deepEqual(await findMissing({ blobDigests, instanceName: 'a/b' }), blobDigests);
    assert.deepEqual(await findMissing({ blobDigests, digestFunction: sha256.value }), []);
  });

  const good = blobOf('x').digest.toMessage();
  for (const [what, request] of [
    ['GEN-04: an unknown instance', { instanceName: 'nope' }],
    ['GEN-02: a reserved word', { instanceName: 'x/uploads/y' }],
    ['GEN-03: a leading slash', { instanceName: '/a/b' }],
    ['DIG-01: an upper-case hash', { blobDigests: [{ ...good, hash: good.hash.toUpperCase() }] }],
    ['DIG-01: a short hash', { blobDigests: [{ ...good, hash: good.hash.slice(1) }] }],
    ['GEN-19: a negative size', { blobDigests: [{ ...good, sizeBytes: -1 }] }],
    ['DIG-07: a hash of another function', { blobDigests: [good], digestFunction: sha1.value }],
    ['DIG-08: a function not announced', { blobDigests: [good], digestFunction: 6 as const }],
    ['GEN-17: an unknown function', { blobDigests: [good], digestFunction: 99 as 6 }],
    [
      'DIG-09: mixed functions',
      {
        blobDigests: [good, Digest.ofBytes(sha1, Buffer.from('x')).toMessage()],
      },
    ],
  ] as const) {
    it(`${what} is INVALID_ARGUMENT`, async (t) => {
      const { findMissing } = await start(t);
      await assert.rejects(findMissing(request as never), invalid);
    });
  }
});

describe('BatchUpdateBlobs', () => {
  it('CAS-10, CAS-14: each blob succeeds or fails alone', async (t) => {
    const { update, findMissing } = await start(t);
    const bad = { ...entry('bad'), data: Buffer.from('other') };
    const malformed = { digest: { hash: 'zz', sizeBytes: 1 }, data: Buffer.from('x') };
    const responses = await update({ requests: [entry('good'), bad, malformed] });
    assert.deepEqual(codes(responses), [Code.OK, Code.INVALID_ARGUMENT, Code.INVALID_ARGUMENT]);
    assert.deepEqual(
      responses.map(({ digest }) => digest?.hash),
      [entry('good').digest.hash, bad.digest.hash, 'zz'],
    );
    const blobDigests = [entry('good').digest, bad.digest];
    assert.deepEqual(await findMissing({ blobDigests }), [bad.digest]);
  });

  it('DIG-02: the right hash with a wrong size is neither taken nor given', async (t) => {
    const { put, update, read } = await start(t);
    const { digest, data } = entry('present');
    const longer = { ...digest, sizeBytes: digest.sizeBytes + 1 };
    const shorter = { ...digest, sizeBytes: digest.sizeBytes - 1 };
    const requests = [longer, shorter].map((wrong) => ({ digest: wrong, data }));
    assert.deepEqual(codes(await update({ requests })), [3, 3]);
    await put('present');
    assert.deepEqual(codes(await read({ digests: [longer, shorter] })), [5, 5]);
  });

  it('CI-16, CAS-12, CAP-11: more than the limit fails the whole call; the limit passes', async (t) => {
    const { instance, update, findMissing } = await start(t);
    const { batchBytesMax } = instance.limits;
    const large = entry(Buffer.alloc(batchBytesMax - 1));
    await assert.rejects(update({ requests: [large, entry('ab')] }), invalid);
    assert.equal((await findMissing({ blobDigests: [large.digest] })).length, 1);
    assert.deepEqual(codes(await update({ requests: [large, entry('a')] })), [Code.OK, Code.OK]);
  });

  for (const { compressor, value, pack } of packings) {
    it(`CAS-13, CAS-16: takes ${compressor}, and counts what was sent`, async (t) => {
      const { instance, update, findMissing } = await start(t);
      const { digest, data } = entry(Buffer.alloc(3 * instance.limits.batchBytesMax));
      const requests = [{ digest, data: pack(data), compressor: value }];
      assert.deepEqual(codes(await update({ requests })), [Code.OK]);
      assert.deepEqual(await findMissing({ blobDigests: [digest] }), []);
    });
  }

  it('CMP-06, CMP-08: other bytes in zstd and other compressors are refused', async (t) => {
    const { update } = await start(t);
    const { digest, data } = entry('hello');
    const responses = await update({
      requests: [
        { digest, data: zstdCompressSync(Buffer.from('other')), compressor: Compressor_Value.ZSTD },
        { digest, data, compressor: Compressor_Value.ZSTD },
        { digest, data, compressor: 77 as 3 },
      ],
    });
    assert.deepEqual(codes(responses), [3, 3, 3]);
  });

  it('CI-16, CAS-17, CAS-18: what is there already, twice in a batch, or empty is OK', async (t) => {
    const { update } = await start(t);
    const requests = [entry('a'), entry('a'), entry('')];
    assert.deepEqual(codes(await update({ requests })), [0, 0, 0]);
    assert.deepEqual(codes(await update({ requests })), [0, 0, 0]);
  });

  it('CAS-19: takes 4000 blobs', async (t) => {
    const { update } = await start(t);
    const requests = Array.from({ length: 4000 }, (_, n) => entry(`blob ${n}`));
    assert.deepEqual(new Set(codes(await update({ requests }))), new Set([0]));
  });

  for (const digestFunction of allDigestFunctions) {
    const inferred = digestFunction.segment === undefined;
    it(`DIG-04, DIG-05: ${digestFunction.name} is ${inferred ? 'told by its length' : 'to be named'}`, async (t) => {
      const { update, findMissing, read } = await start(t, allDigestFunctions);
      const data = Buffer.from('hello');
      const digest = Digest.ofBytes(digestFunction, data).toMessage();
      const named = { digestFunction: inferred ? 0 : digestFunction.value };
      assert.deepEqual(codes(await update({ requests: [{ digest, data }], ...named })), [Code.OK]);
      const nothing = Digest.ofBytes(digestFunction, Buffer.alloc(0)).toMessage();
      const blobDigests = [digest, nothing];
      assert.deepEqual(await findMissing({ blobDigests, ...named }), [], 'DIG-11');
      const [response] = await read({ digests: [digest], ...named });
      assert.equal(Buffer.from(response?.data ?? []).toString(), 'hello');
      if (inferred) return;
      assert.deepEqual(await findMissing({ blobDigests: [digest] }), [digest]);
    });
  }

  it('DIG-19: an absent digest is INVALID_ARGUMENT', async (t) => {
    const { update } = await start(t);
    await assert.rejects(update({ requests: [{ data: Buffer.from('x') }] }), invalid);
  });
});

describe('BatchReadBlobs', () => {
  it('CAS-30, CAS-31, CAS-35: each digest has its answer, with a status', async (t) => {
    const { put, read } = await start(t);
    const present = await put('present');
    const absent = blobOf('absent').digest.toMessage();
    const responses = await read({
      digests: [present, absent, empty.digest.toMessage(), { hash: 'q', sizeBytes: 1 }],
    });
    assert.deepEqual(codes(responses), [0, Code.NOT_FOUND, 0, Code.INVALID_ARGUMENT]);
    assert.deepEqual(
      responses.map(({ digest, data }) => [digest?.hash, Buffer.from(data).toString()]),
      [
        [present.hash, 'present'],
        [absent.hash, ''],
        [empty.digest.hash, ''],
        ['q', ''],
      ],
    );
  });

  it('CAS-32: asking for more than the limit fails the call', async (t) => {
    const { instance, read } = await start(t);
    const digest = { ...blobOf('x').digest.toMessage(), sizeBytes: instance.limits.batchBytesMax };
    assert.deepEqual(codes(await read({ digests: [digest] })), [Code.NOT_FOUND]);
    await assert.rejects(read({ digests: [digest, blobOf('x').digest.toMessage()] }), invalid);
  });

  it('GEN-09: asking for more entries than fit in a message fails the call', async (t) => {
    const { read } = await start(t);
    const digests = Array.from({ length: 50_000 }, () => empty.digest.toMessage());
    await assert.rejects(read({ digests }), invalid);
  });

  const long = 'long '.repeat(1000);

  for (const { compressor, value, unpack } of packings) {
    it(`CAS-33: packs with ${compressor} where the client accepts that alone`, async (t) => {
      const { put, read } = await start(t);
      const acceptableCompressors = [77 as 3, Compressor_Value.IDENTITY, value];
      const [response] = await read({ digests: [await put(long)], acceptableCompressors });
      assert.equal(response?.compressor, value);
      assert.ok(response.data.length < 200);
      assert.equal(unpack(response.data).toString(), long);
    });
  }

  it('CAS-33: packs nothing for who does not ask, and nothing that stays as long', async (t) => {
    const { put, read } = await start(t);
    const random = seededRandom(1);
    const noise = Buffer.from(Array.from({ length: 2000 }, () => Math.floor(random() * 256)));
    const every = packings.map(({ value }) => value);
    for (const [bytes, acceptableCompressors] of [
      [Buffer.from(long), []],
      [Buffer.from(long), [Compressor_Value.IDENTITY, 77 as 3]],
      [Buffer.from('short'), every],
      [noise, every],
    ] as const) {
      const digests = [await put(bytes)];
      const [response] = await read({ digests, acceptableCompressors: [...acceptableCompressors] });
      assert.equal(response?.compressor, Compressor_Value.IDENTITY);
      assert.ok(bytes.equals(response.data));
    }
  });

  it('CAS-34: mixed functions fail the call', async (t) => {
    const { put, read } = await start(t);
    const other = Digest.ofBytes(sha1, Buffer.from('x')).toMessage();
    await assert.rejects(read({ digests: [await put('x'), other] }), invalid);
  });
});

describe('GetTree', () => {
  it('CAS-40, CAS-43, CAS-44, CAS-46: one call sends every page, with tokens between', async (t) => {
    const { put, getTree } = await start(t);
    const [root] = await putChain(put, 7);
    const pages = await getTree({ rootDigest: root?.digest.toMessage(), pageSize: 2 });
    assert.deepEqual(names(pages), [['1', '2'], ['3', '4'], ['5', '6'], ['7']]);
    assert.deepEqual(
      pages.map(({ nextPageToken }) => nextPageToken !== ''),
      [true, true, true, false],
    );
  });

  it('HI-06, CAS-45: a token takes the listing up again; no other token is taken', async (t) => {
    const { put, getTree } = await start(t);
    const [root, child] = await putChain(put, 3);
    const rootDigest = root?.digest.toMessage();
    const [page] = await getTree({ rootDigest, pageSize: 1 });
    const pageToken = page?.nextPageToken ?? '';
    assert.deepEqual(names(await getTree({ rootDigest, pageToken })), [['2', '3']]);
    for (const bad of [
      'x',
      `${pageToken}0`,
      pageToken.replace(/1$/, '3'),
      pageToken.replace(/1$/, '-1'),
    ]) {
      await assert.rejects(getTree({ rootDigest, pageToken: bad }), invalid, bad);
    }
    const rootOfOther = child?.digest.toMessage();
    await assert.rejects(getTree({ rootDigest: rootOfOther, pageToken }), invalid);
  });

  it('CAS-41, CAS-42: an absent root is NOT_FOUND, an absent directory is left out', async (t) => {
    const { put, getTree } = await start(t);
    let puts = 0;
    const [root] = await putChain(async (bytes) => {
      puts += 1;
      if (puts !== 2) await put(bytes);
    }, 3);
    const pages = await getTree({ rootDigest: root?.digest.toMessage() });
    assert.deepEqual(names(pages), [['1']]);
    const rootDigest = blobOf('nowhere').digest.toMessage();
    await assert.rejects(getTree({ rootDigest }), { code: Code.NOT_FOUND });
  });

  it('CAS-47: the empty root is one empty directory', async (t) => {
    const { getTree } = await start(t);
    const [page, ...more] = await getTree({ rootDigest: empty.digest.toMessage() });
    assert.equal(page?.directories.length, 1);
    assert.deepEqual(more, []);
  });

  it('HI-06, CAS-43, CAS-49: a negative page size and a root that is no directory are refused', async (t) => {
    const { put, getTree } = await start(t);
    const rootDigest = await put('this is no directory');
    await assert.rejects(getTree({ rootDigest }), invalid);
    await assert.rejects(getTree({ rootDigest: empty.digest.toMessage(), pageSize: -1 }), invalid);
    await assert.rejects(getTree({}), invalid);
  });

  it('CAS-50: pages keep to the size of a message, and GEN-18: bytes are as stored', async (t) => {
    const { put, getTree, client } = await start(t);
    const children = [largeDirectory('1'), largeDirectory('2')];
    const digests = await Promise.all(children.map((bytes) => put(bytes)));
    const directories = digests.map((digest, n) => ({ name: `${n}`, digest }));
    const unknownField = Buffer.from([0x9a, 0x06, 0x01, 0x21]);
    const rootBytes = Buffer.concat([
      Directory.encode(Directory.fromPartial({ directories })).finish(),
      unknownField,
    ]);
    const rootDigest = await put(rootBytes);
    assert.equal((await getTree({ rootDigest })).length, 2);
    const request = GetTreeRequest.encode(GetTreeRequest.fromPartial({ rootDigest })).finish();
    const pages = await Array.fromAsync(client.rawStream(`${path}/GetTree`, request));
    assert.ok(pages[0]?.includes(rootBytes));
    assert.ok(pages.every(({ length }) => length < 4 * 2 ** 20));
  });
});

/** A chain of directories, root first, each with its digest and bytes. */
async function putChain(put: (bytes: Uint8Array) => Promise<unknown>, depth: number) {
  const chain: { digest: Digest; bytes: Uint8Array }[] = [];
  for (let level = depth; level > 0; level--) {
    const below = chain[0];
    const directories = below ? [{ name: 'd', digest: below.digest.toMessage() }] : [];
    const symlinks = [{ name: 'l', target: `${level}` }];
    const bytes = Directory.encode(Directory.fromPartial({ directories, symlinks })).finish();
    await put(bytes);
    chain.unshift({ digest: Digest.ofBytes(sha256, bytes), bytes });
  }
  return chain;
}
function names(pages: readonly GetTreeResponse[]) {
  return pages.map(({ directories }) => directories.map(({ symlinks }) => symlinks[0]?.target));
}

function largeDirectory(target: string): Uint8Array {
  const symlinks = [{ name: 'x'.repeat(3 * 2 ** 20), target }];
  return Directory.encode(Directory.fromPartial({ symlinks })).finish();
}
