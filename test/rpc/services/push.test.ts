import assert from 'node:assert/strict';
import { globSync, rmSync } from 'node:fs';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { chunksOf } from '../../../src/base/chunks.ts';
import { Code } from '../../../src/base/status.ts';
import { sha1, sha256 } from '../../../src/digest/digest-functions.ts';
import { Digest } from '../../../src/digest/digest.ts';
import { Directory } from '../../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { assetClient, qualifiersOf } from '../../support/asset-client.ts';
import { inReverse } from '../../support/in-reverse.ts';
import { never } from '../../support/never.ts';
import { startTestServer } from '../../support/start-expbuild-server.ts';
import { tempDir } from '../../support/temp-dir.ts';

const settings = `
instance_names = ["", "other", "alias"]
[shared_storage]
alias = "other"
[digest]
functions = ["SHA256", "SHA1"]
`;

async function start(context: TestContext, more = '') {
  const t = inReverse(context);
  const folder = tempDir(t);
  const server = await startTestServer(t, { folder, toml: settings + more });
  const put = async (content: string | Uint8Array, digestFunction = sha256, instance = '') => {
    const bytes = Buffer.from(content as string);
    const digest = Digest.ofBytes(digestFunction, bytes);
    await server.blobsOf(instance).write(digest, chunksOf(bytes), never);
    return digest.toMessage();
  };
  /** A directory with a file of each text, and the digests of these. */
  const putDirectory = async (...texts: string[]) => {
    const files = await Promise.all(
      texts.map(async (text, at) => ({ name: `file${at}`, digest: await put(text) })),
    );
    return put(Directory.encode(Directory.fromPartial({ files })).finish());
  };
  const lose = ({ hash }: { hash: string }) => {
    const [file = ''] = globSync(`data/cas/**/${hash}-*`, { cwd: folder });
    rmSync(path.join(folder, file));
  };
  const client = assetClient(t, server.address);
  const find = async (uri: string, qualifiers = {}) => {
    const request = { uris: [uri], qualifiers: qualifiersOf(qualifiers) };
    const { status, blobDigest } = await client.fetchBlob(request);
    assert.equal(blobDigest !== undefined, status?.code === Code.OK);
    return status?.code === Code.OK ? blobDigest?.hash : status?.code;
  };
  return { put, putDirectory, lose, find, ...client };
}

/** So many seconds from now. */
const at = (seconds: number) => ({ seconds: Math.floor(Date.now() / 1000) + seconds, nanos: 0 });

const artifact = 'urn:fdc:buildstream.build:2020:artifact:project/element/abc';

test('AST-25, AST-26, AST-34, BST-02: what is pushed is found by each of its URIs, also URNs', async (t) => {
  const { pushBlob, fetchBlob, put, find } = await start(t);
  const blobDigest = await put('hello');
  const uris = [artifact, 'https://example.com/hello', 'unknown+scheme:x'];
  await pushBlob({ uris, blobDigest });
  for (const uri of uris) assert.equal(await find(uri), blobDigest.hash);
  const response = await fetchBlob({ uris: ['urn:not:pushed', artifact] });
  assert.equal(response.uri, artifact);
  assert.deepEqual(response.qualifiers, []);
  assert.equal(response.expiresAt, undefined);
});

test('BST-02, AST-32: what was not pushed is NOT_FOUND in the response', async (t) => {
  const { fetchBlob, fetchDirectory } = await start(t);
  for (const fetch of [fetchBlob, fetchDirectory]) {
    const { status, uri } = await fetch({ uris: [artifact] });
    assert.equal(status?.code, Code.NOT_FOUND);
    assert.equal(uri, artifact);
  }
});

test('AST-01, AST-25, BST-01: a push without URI or digest is INVALID_ARGUMENT', async (t) => {
  const { pushBlob, pushDirectory, fetchBlob, fetchDirectory, put } = await start(t);
  const digest = await put('hello');
  const invalid = { code: Code.INVALID_ARGUMENT };
  for (const call of [pushBlob, pushDirectory, fetchBlob, fetchDirectory]) {
    await assert.rejects(call({}), invalid);
  }
  await assert.rejects(pushBlob({ blobDigest: digest }), invalid);
  await assert.rejects(pushDirectory({ rootDirectoryDigest: digest }), invalid);
  await assert.rejects(pushBlob({ uris: [artifact] }), invalid);
  await assert.rejects(pushDirectory({ uris: [artifact] }), invalid);
  const blobDigest = { hash: 'x', sizeBytes: 1 };
  await assert.rejects(pushBlob({ uris: [artifact], blobDigest }), invalid);
});

test('AST-25: a push of what is not in the CAS, or refers to what is not, is FAILED_PRECONDITION', async (t) => {
  const { pushBlob, pushDirectory, put, putDirectory, lose, find } = await start(t);
  const here = await put('hello');
  const absent = { hash: 'a'.repeat(64), sizeBytes: 7 };
  const directory = await putDirectory('x'.repeat(100_000));
  lose(Digest.ofBytes(sha256, Buffer.from('x'.repeat(100_000))));
  const failed = { code: Code.FAILED_PRECONDITION };
  const uris = [artifact];
  for (const push of [
    pushBlob({ uris, blobDigest: absent }),
    pushBlob({ uris, blobDigest: here, referencesBlobs: [absent] }),
    pushBlob({ uris, blobDigest: here, referencesDirectories: [absent] }),
    pushBlob({ uris, blobDigest: here, referencesDirectories: [directory] }),
    pushDirectory({ uris, rootDirectoryDigest: absent }),
    pushDirectory({ uris, rootDirectoryDigest: directory }),
  ]) {
    await assert.rejects(push, failed);
  }
  assert.equal(await find(artifact), Code.NOT_FOUND);
  const noDirectory = pushDirectory({ uris, rootDirectoryDigest: here });
  await assert.rejects(noDirectory, { code: Code.INVALID_ARGUMENT });
});

test('AST-27: a fetch finds what was pushed with its qualifiers, or more', async (t) => {
  const { pushBlob, put, find } = await start(t);
  const blobDigest = await put('hello');
  await pushBlob({ uris: [artifact], blobDigest, qualifiers: qualifiersOf({ b: '2', a: '1' }) });
  assert.equal(await find(artifact), blobDigest.hash);
  assert.equal(await find(artifact, { a: '1' }), blobDigest.hash);
  assert.equal(await find(artifact, { a: '1', b: '2' }), blobDigest.hash);
  assert.equal(await find(artifact, { a: '1', c: '3' }), Code.NOT_FOUND);
  assert.equal(await find(artifact, { a: '2' }), Code.NOT_FOUND);
});

test('AST-27: of several that fit, the one pushed last is found', async (t) => {
  const { pushBlob, put, find } = await start(t);
  const [first, second, third] = [await put('first'), await put('second'), await put('third')];
  const uris = [artifact];
  await pushBlob({ uris, blobDigest: first, qualifiers: qualifiersOf({ a: '1' }) });
  await pushBlob({ uris, blobDigest: second, qualifiers: qualifiersOf({ a: '2' }) });
  assert.equal(await find(artifact), second.hash);
  assert.equal(await find(artifact, { a: '1' }), first.hash);
  await pushBlob({ uris, blobDigest: third, qualifiers: qualifiersOf({ a: '1' }) });
  assert.equal(await find(artifact, { a: '1' }), third.hash);
});

test('AST-17: the response tells the qualifiers that were pushed', async (t) => {
  const { pushBlob, fetchBlob, put } = await start(t);
  const qualifiers = qualifiersOf({ b: '2', a: '1', 'http_header:Authorization': 'secret' });
  await pushBlob({ uris: [artifact], blobDigest: await put('hello'), qualifiers });
  const response = await fetchBlob({ uris: [artifact] });
  const told = response.qualifiers.map(({ name, value }) => [name, value]);
  assert.deepEqual(told, [
    ['a', '1'],
    ['b', '2'],
  ]);
});

test('AST-12: what was pushed before the moment that a client accepts is not found', async (t) => {
  const { pushBlob, fetchBlob, put } = await start(t);
  await pushBlob({ uris: [artifact], blobDigest: await put('hello') });
  const codeSince = async (seconds: number) => {
    const { status } = await fetchBlob({ uris: [artifact], oldestContentAccepted: at(seconds) });
    return status?.code;
  };
  assert.equal(await codeSince(-60), Code.OK);
  assert.equal(await codeSince(60), Code.NOT_FOUND);
});

test('AST-28: what has expired is not found, until it is pushed again', async (t) => {
  const { pushBlob, put, find } = await start(t);
  const blobDigest = await put('hello');
  await pushBlob({ uris: [artifact], blobDigest, expireAt: at(3600) });
  assert.equal(await find(artifact), blobDigest.hash);
  await pushBlob({ uris: [artifact], blobDigest, expireAt: at(-1) });
  assert.equal(await find(artifact), Code.NOT_FOUND);
  await pushBlob({ uris: [artifact], blobDigest });
  assert.equal(await find(artifact), blobDigest.hash);
});

test('AST-29: what a blob refers to stays as long as somebody asks for the blob', async (t) => {
  const room = '[cas_storage]\ntype = "memory"\nmax_size = "8MiB"\n';
  const { pushBlob, put, putDirectory, find } = await start(t, room);
  const blobDigest = await put('artifact');
  const reference = 'x'.repeat(100_000);
  await pushBlob({
    uris: [artifact],
    blobDigest,
    referencesBlobs: [await put(`${reference}1`)],
    referencesDirectories: [await putDirectory(`${reference}2`)],
  });
  const unused = ['urn:x:y'];
  await pushBlob({ uris: unused, blobDigest: await put(`${reference}3`) });
  // Five times what there is room for: what nobody asks for makes room.
  for (let i = 0; i < 40; i++) {
    await put(Buffer.alloc(2 ** 20, i));
    assert.equal(await find(artifact), blobDigest.hash);
  }
  assert.equal(await find('urn:x:y'), Code.NOT_FOUND);
});

test('BST-02: a blob is found only as long as all that it refers to is there', async (t) => {
  const { pushBlob, put, putDirectory, lose, find } = await start(t);
  const large = 'x'.repeat(100_000);
  const uris = [artifact];
  const request = {
    uris,
    blobDigest: await put('artifact'),
    referencesBlobs: [await put(`${large}1`)],
    referencesDirectories: [await putDirectory(`${large}2`)],
  };
  await pushBlob(request);
  for (const text of [`${large}1`, `${large}2`]) {
    assert.equal(await find(artifact), request.blobDigest.hash);
    lose(Digest.ofBytes(sha256, Buffer.from(text)));
    assert.equal(await find(artifact), Code.NOT_FOUND);
    await put(text);
  }
  assert.equal(await find(artifact), request.blobDigest.hash);
});

test('AST-09, BST-02: a directory is found only as long as all of its tree is there', async (t) => {
  const { pushDirectory, fetchDirectory, put, putDirectory, lose } = await start(t);
  const text = 'x'.repeat(100_000);
  const rootDirectoryDigest = await putDirectory(text, 'small');
  await pushDirectory({ uris: [artifact], rootDirectoryDigest });
  const found = await fetchDirectory({ uris: [artifact] });
  assert.equal(found.rootDirectoryDigest?.hash, rootDirectoryDigest.hash);
  assert.equal(found.digestFunction, sha256.value);
  lose(Digest.ofBytes(sha256, Buffer.from(text)));
  const lost = await fetchDirectory({ uris: [artifact] });
  assert.equal(lost.status?.code, Code.NOT_FOUND);
  assert.equal(lost.rootDirectoryDigest, undefined);
  await put(text);
  assert.equal((await fetchDirectory({ uris: [artifact] })).status?.code, Code.OK);
});

test('AST-31: the digest function of a push is told by the length of its hash', async (t) => {
  const { pushBlob, fetchBlob, put } = await start(t);
  const blobDigest = await put('hello', sha1);
  await pushBlob({ uris: [artifact], blobDigest });
  const found = await fetchBlob({ uris: [artifact], digestFunction: sha1.value });
  assert.deepEqual(found.blobDigest?.hash, blobDigest.hash);
  const other = await fetchBlob({ uris: [artifact] });
  assert.equal(other.status?.code, Code.NOT_FOUND);
});

test('AST-33: a blob is not found as a directory, nor a directory as a blob', async (t) => {
  const { pushBlob, pushDirectory, fetchBlob, fetchDirectory, putDirectory } = await start(t);
  const digest = await putDirectory('a');
  await pushBlob({ uris: ['urn:blob'], blobDigest: digest });
  await pushDirectory({ uris: ['urn:directory'], rootDirectoryDigest: digest });
  assert.equal((await fetchDirectory({ uris: ['urn:blob'] })).status?.code, Code.NOT_FOUND);
  assert.equal((await fetchBlob({ uris: ['urn:directory'] })).status?.code, Code.NOT_FOUND);
  assert.equal((await fetchDirectory({ uris: ['urn:directory'] })).status?.code, Code.OK);
});

test('AST-35: what is pushed to one instance is not found in another', async (t) => {
  const { pushBlob, fetchBlob, put } = await start(t);
  const blobDigest = await put('hello');
  await put('hello', sha256, 'other');
  await pushBlob({ uris: [artifact], blobDigest });
  const other = await fetchBlob({ uris: [artifact], instanceName: 'other' });
  assert.equal(other.status?.code, Code.NOT_FOUND);
  await pushBlob({ uris: [artifact], blobDigest, instanceName: 'other' });
  const found = await fetchBlob({ uris: [artifact], instanceName: 'other' });
  assert.equal(found.status?.code, Code.OK);
});

test('instances that share their blobs share what is found under a URI', async (t) => {
  const { pushBlob, fetchBlob, put } = await start(t);
  const blobDigest = await put('hello', sha256, 'other');
  await pushBlob({ uris: [artifact], blobDigest, instanceName: 'other' });
  const found = await fetchBlob({ uris: [artifact], instanceName: 'alias' });
  assert.equal(found.blobDigest?.hash, blobDigest.hash);
});
