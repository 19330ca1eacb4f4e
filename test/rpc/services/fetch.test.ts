import assert from 'node:assert/strict';
import { globSync, rmSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { chunksOf } from '../../../src/base/chunks.ts';
import { Code } from '../../../src/base/status.ts';
import { blake3, sha256 } from '../../../src/digest/digest-functions.ts';
import { BadRequest } from '../../../src/proto/google/rpc/error_details.ts';
import { Status } from '../../../src/proto/google/rpc/status.ts';
import { assetClient, qualifiersOf } from '../../support/asset-client.ts';
import { allowed, saying, sri, startAssetServer } from '../../support/asset-server.ts';
import { blobOf } from '../../support/blob-of.ts';
import { httpOrigin } from '../../support/http-origin.ts';
import { never } from '../../support/never.ts';
import { startTestServer } from '../../support/start-expbuild-server.ts';

test('AST-09, AST-11: a file is fetched, stored and answered with its SHA256 digest', async (t) => {
  const { fetchBlob, read, t: hooks } = await startAssetServer(t);
  const origin = await httpOrigin(hooks, saying('hello'));
  const uri = `${origin.url}/hello.txt`;
  const response = await fetchBlob({ uris: [uri] });
  assert.equal(response.status?.code, Code.OK);
  assert.equal(response.uri, uri);
  assert.equal(response.digestFunction, sha256.value);
  assert.deepEqual(response.blobDigest?.hash, blobOf('hello').digest.hash);
  assert.equal(await read(response.blobDigest), 'hello');
  assert.equal(origin.requests[0]?.headers['accept-encoding'], 'identity');
});

test('AST-11: the digest is of the function that the request names', async (t) => {
  const { fetchBlob, read, t: hooks } = await startAssetServer(t);
  const origin = await httpOrigin(hooks, saying('hello'));
  const request = { uris: [origin.url], digestFunction: blake3.value };
  const response = await fetchBlob(request);
  assert.equal(response.digestFunction, blake3.value);
  assert.equal(await read(response.blobDigest, blake3), 'hello');
  await assert.rejects(fetchBlob({ ...request, digestFunction: 5 }), {
    code: Code.INVALID_ARGUMENT,
  });
});

test('a file that was fetched is not fetched again, by whatever order of qualifiers: AST-04', async (t) => {
  const { fetchBlob, t: hooks } = await startAssetServer(t);
  const origin = await httpOrigin(hooks, saying('hello'));
  const qualifiers = qualifiersOf({ 'checksum.sri': sri('hello'), 'bazel.canonical_id': 'a' });
  const first = await fetchBlob({ uris: [origin.url], qualifiers });
  const second = await fetchBlob({ uris: [origin.url], qualifiers: qualifiers.toReversed() });
  assert.deepEqual(second, first);
  assert.equal(origin.requests.length, 1);
});

test('AST-02: URIs are tried in turn, and the response names the one that was used', async (t) => {
  const { fetchBlob, t: hooks } = await startAssetServer(t);
  const origin = await httpOrigin(hooks, (request, response) => {
    if (request.url === '/missing') response.statusCode = 404;
    response.end('hello');
  });
  const uris = [`${origin.url}/missing`, `${origin.url}/hello`];
  const response = await fetchBlob({ uris });
  assert.equal(response.status?.code, Code.OK);
  assert.equal(response.uri, uris[1]);
  assert.equal(response.blobDigest?.hash, blobOf('hello').digest.hash);
});

const invalid = (thrown: { code?: number; details?: string }) =>
  thrown.code === Code.INVALID_ARGUMENT && !thrown.details?.includes('secret');

const refusals: readonly (readonly [string, Parameters<typeof qualifiersOf>[0] | string[]])[] = [
  ['AST-18: a checksum that is no hash', { 'checksum.sri': 'sha256-abc' }],
  ['AST-18: a checksum of URL-safe Base64', { 'checksum.sri': `sha256-${'_'.repeat(43)}=` }],
  ['AST-18: a checksum of an unknown algorithm alone', { 'checksum.sri': 'md5-abc' }],
  ['AST-20: headers that are not JSON', { 'bazel.auth_headers': 'secret' }],
  ['AST-20: headers that are no table', { 'bazel.auth_headers': '{"https://a/":"secret"}' }],
  ['AST-20: a header that would frame the message', { 'http_header:Transfer-Encoding': 'x' }],
  ['AST-20: a header with a line break', { 'http_header:X': 'a\r\nb: c' }],
  ['AST-20: a header without a name', { 'http_header:': 'a' }],
  ['AST-20: a header for a URI without a number', { 'http_header_url:x:Name': 'a' }],
  ['AST-05: a qualifier without a name', { '': 'a' }],
  ['AST-01: no URI', []],
  ['AST-01: a URI without a scheme', ['file.txt']],
  ['AST-01: an empty URI', ['']],
];
for (const [name, what] of refusals) {
  test(`${name} is INVALID_ARGUMENT`, async (t) => {
    const { fetchBlob, fetchDirectory } = await startAssetServer(t);
    const request = Array.isArray(what)
      ? { uris: what }
      : { uris: ['https://example.com/'], qualifiers: qualifiersOf(what) };
    await assert.rejects(fetchBlob(request), invalid);
    await assert.rejects(fetchDirectory(request), invalid);
  });
}

test('AST-03: a qualifier given twice is INVALID_ARGUMENT', async (t) => {
  const { fetchBlob } = await startAssetServer(t);
  const qualifiers = [...qualifiersOf({ a: '1' }), ...qualifiersOf({ a: '1' })];
  await assert.rejects(fetchBlob({ uris: ['urn:a'], qualifiers }), { code: Code.INVALID_ARGUMENT });
});

test('AST-05, AST-06: qualifiers that a fetch cannot honour are refused by name', async (t) => {
  const { fetchBlob, t: hooks } = await startAssetServer(t);
  const origin = await httpOrigin(hooks, saying('hello'));
  const qualifiers = qualifiersOf({ bogus: '1', 'checksum.sri': sri('hello'), other: '2' });
  const error = await fetchBlob({ uris: [origin.url], qualifiers }).then(
    () => assert.fail('it was accepted'),
    (thrown: { code: number; metadata: { get(name: string): Buffer[] } }) => thrown,
  );
  assert.equal(error.code, Code.INVALID_ARGUMENT);
  const [bytes] = error.metadata.get('grpc-status-details-bin');
  const [detail] = Status.decode(bytes as Buffer).details;
  assert.equal(detail?.typeUrl, 'type.googleapis.com/google.rpc.BadRequest');
  const { fieldViolations } = BadRequest.decode(detail?.value ?? new Uint8Array());
  assert.deepEqual(
    fieldViolations.map(({ field, description }) => [field, description]),
    [
      ['qualifiers.name', '"bogus" not supported'],
      ['qualifiers.name', '"other" not supported'],
    ],
  );
  assert.equal(origin.requests.length, 0);
});

test('AST-05: a server without Push refuses them whatever the URI', async (t) => {
  const { fetchBlob, pushBlob, server } = await startAssetServer(t, {
    toml: 'push_allowed = false',
  });
  const request = { uris: ['urn:a'], qualifiers: qualifiersOf({ bogus: '1' }) };
  await assert.rejects(fetchBlob(request), { code: Code.INVALID_ARGUMENT });
  const { bytes, digest } = blobOf('hello');
  await server.blobsOf('').write(digest, chunksOf(bytes), never);
  const push = pushBlob({ uris: ['urn:a'], blobDigest: digest.toMessage() });
  await assert.rejects(push, { code: Code.PERMISSION_DENIED });
});

for (const [name, value, code] of [
  ['the right one', sri('hello'), Code.OK],
  ['a wrong one', sri('other'), Code.ABORTED],
  ['the right one among wrong ones', `${sri('other')} \n ${sri('hello')}`, Code.OK],
  ['of SHA384', sri('hello', 'sha384'), Code.OK],
  ['of SHA512, which counts more than SHA256', `${sri('x')} ${sri('hello', 'sha512')}`, Code.OK],
  ['a wrong one of SHA512', `${sri('hello')} ${sri('x', 'sha512')}`, Code.ABORTED],
  ['one of an unknown algorithm beside', `md5-abc ${sri('hello')}`, Code.OK],
] as const) {
  test(`AST-07, AST-18: a checksum, ${name}, gives status ${code}`, async (t) => {
    const { fetchBlob, server, t: hooks } = await startAssetServer(t);
    const origin = await httpOrigin(hooks, saying('hello'));
    const qualifiers = qualifiersOf({ 'checksum.sri': value });
    const response = await fetchBlob({ uris: [origin.url], qualifiers });
    assert.equal(response.status?.code, code);
    const { digest } = blobOf('hello');
    const missing = await server.blobsOf('').findMissing([digest], never);
    assert.equal(missing.length, code === Code.OK ? 0 : 1);
  });
}

test('AST-09: a file that is gone from the CAS is fetched again', async (t) => {
  const { fetchBlob, read, folder, t: hooks } = await startAssetServer(t, { onDisk: true });
  const content = 'x'.repeat(100_000);
  const origin = await httpOrigin(hooks, saying(content));
  const { blobDigest } = await fetchBlob({ uris: [origin.url] });
  const [file = ''] = globSync(`data/cas/**/${blobDigest?.hash}-*`, { cwd: folder });
  rmSync(path.join(folder, file));
  const again = await fetchBlob({ uris: [origin.url] });
  assert.equal(origin.requests.length, 2);
  assert.equal(await read(again.blobDigest), content);
});

test('assets outlive the server', async (t) => {
  const { fetchBlob, server, folder, t: hooks } = await startAssetServer(t, { onDisk: true });
  const origin = await httpOrigin(hooks, saying('hello'));
  await fetchBlob({ uris: [origin.url] });
  await server.stop();
  const next = await startTestServer(hooks, { folder, toml: `[remote_asset]\n${allowed}` });
  const response = await assetClient(hooks, next.address).fetchBlob({ uris: [origin.url] });
  assert.equal(response.status?.code, Code.OK);
  assert.equal(origin.requests.length, 1);
});

test('AST-32: without hosts to fetch from, what was not pushed is NOT_FOUND in the response', async (t) => {
  const {
    fetchBlob,
    fetchDirectory,
    t: hooks,
  } = await startAssetServer(t, { toml: 'allowed_hosts = []' });
  const origin = await httpOrigin(hooks, saying('hello'));
  for (const uri of [origin.url, 'urn:nothing', 'ftp://127.0.0.1/file', 'file:///etc/passwd']) {
    for (const response of [
      await fetchBlob({ uris: [uri] }),
      await fetchDirectory({ uris: [uri] }),
    ]) {
      assert.equal(response.status?.code, Code.NOT_FOUND);
      assert.equal(response.uri, uri);
    }
  }
  assert.equal(origin.requests.length, 0);
});

test('GEN-04: an instance that does not exist is INVALID_ARGUMENT', async (t) => {
  const { fetchBlob, fetchDirectory, pushBlob } = await startAssetServer(t);
  for (const call of [fetchBlob, fetchDirectory, pushBlob]) {
    const answered = call({ instanceName: 'nope', uris: ['urn:a'] });
    await assert.rejects(answered, { code: Code.INVALID_ARGUMENT });
  }
});
