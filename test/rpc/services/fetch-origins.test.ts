import assert from 'node:assert/strict';
import { globSync } from 'node:fs';
import { test } from 'node:test';
import { Code } from '../../../src/base/status.ts';
import { FetchBlobResponse } from '../../../src/proto/build/bazel/remote/asset/v1/remote_asset.ts';
import { allowed, saying, startAssetServer } from '../../support/asset-server.ts';
import { certificateSkip, selfSigned } from '../../support/certificate.ts';
import { httpOrigin } from '../../support/http-origin.ts';

for (const [status, code] of [
  [401, Code.PERMISSION_DENIED],
  [403, Code.PERMISSION_DENIED],
  [404, Code.NOT_FOUND],
  [410, Code.NOT_FOUND],
  [418, Code.ABORTED],
  [206, Code.ABORTED],
  [304, Code.ABORTED],
  [429, Code.RESOURCE_EXHAUSTED],
  [500, Code.UNAVAILABLE],
  [504, Code.DEADLINE_EXCEEDED],
] as const) {
  test(`AST-08, AST-10: HTTP status ${status} is status ${code} in the response, without a digest`, async (t) => {
    const { fetchBlob, t: hooks } = await startAssetServer(t);
    const origin = await httpOrigin(hooks, (_request, response) => {
      response.statusCode = status;
      response.end(status === 304 ? undefined : 'no');
    });
    const uri = `${origin.url}/file?token=secret`;
    const response = await fetchBlob({ uris: [uri] });
    assert.equal(response.status?.code, code);
    assert.equal(response.uri, uri);
    assert.equal(response.blobDigest, undefined);
    assert.doesNotMatch(response.status?.message ?? '', /secret/);
    // Field 5 is the digest: not even an empty one is on the wire.
    const bytes = FetchBlobResponse.encode(response).finish();
    assert.ok(FetchBlobResponse.decode(bytes).blobDigest === undefined);
  });
}

test('AST-08: an origin that breaks off or is not there is UNAVAILABLE in the response', async (t) => {
  const { fetchBlob, t: hooks, folder } = await startAssetServer(t, { onDisk: true });
  const origin = await httpOrigin(hooks, (_request, response) => {
    response.writeHead(200, { 'content-length': '100' });
    response.write('some', () => response.destroy());
  });
  for (const uri of [origin.url, 'http://127.0.0.1:1/']) {
    const response = await fetchBlob({ uris: [uri] });
    assert.equal(response.status?.code, Code.UNAVAILABLE);
  }
  assert.deepEqual(globSync('data/remote_asset/downloads/*', { cwd: folder }), []);
});

test('AST-08: a file larger than is allowed is RESOURCE_EXHAUSTED in the response', async (t) => {
  const {
    fetchBlob,
    t: hooks,
    folder,
  } = await startAssetServer(t, {
    toml: `${allowed}\nmax_fetch_size = "1KiB"`,
    onDisk: true,
  });
  const origin = await httpOrigin(hooks, (request, response) => {
    const size = Number(request.url?.slice(2));
    if (request.url?.startsWith('/a')) response.setHeader('content-length', size);
    response.end(Buffer.alloc(size));
  });
  for (const [file, code] of [
    ['a1025', Code.RESOURCE_EXHAUSTED],
    ['b1025', Code.RESOURCE_EXHAUSTED],
    ['a1024', Code.OK],
    ['b0', Code.OK],
  ] as const) {
    const response = await fetchBlob({ uris: [`${origin.url}/${file}`] });
    assert.equal(response.status?.code, code, file);
  }
  assert.deepEqual(globSync('data/remote_asset/downloads/*', { cwd: folder }), []);
});

test('AST-08: files that are too large together are RESOURCE_EXHAUSTED in the response', async (t) => {
  const toml = `${allowed}\nmax_fetch_size = "64KiB"`;
  const { fetchBlob, t: hooks } = await startAssetServer(t, { toml, onDisk: true });
  let waiting = 0;
  const all = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  const origin = await httpOrigin(hooks, ({ url }, response) => {
    response.write(Buffer.alloc(60_000));
    if (url === '/later') {
      response.end();
      return;
    }
    if (++waiting === 4) all.resolve();
    void go.promise.then(() => response.end());
  });
  const codeOf = async (name: string) => {
    const { status } = await fetchBlob({ uris: [`${origin.url}/${name}`] });
    return status?.code;
  };
  const four = ['1', '2', '3', '4'].map(codeOf);
  await all.promise;
  // The last bytes of the four may be on their way.
  let later = await codeOf('later');
  for (let tries = 0; later === Code.OK && tries < 100; tries++) {
    const oldestContentAccepted = { seconds: Math.ceil(Date.now() / 1000) + 60, nanos: 0 };
    const again = await fetchBlob({ uris: [`${origin.url}/later`], oldestContentAccepted });
    later = again.status?.code;
  }
  assert.equal(later, Code.RESOURCE_EXHAUSTED);
  go.resolve();
  assert.deepEqual(await Promise.all(four), [0, 0, 0, 0]);
  assert.equal(await codeOf('later'), Code.OK);
});

test('AST-12: what was fetched before the moment that a client accepts is fetched again', async (t) => {
  const { fetchBlob, t: hooks } = await startAssetServer(t);
  const origin = await httpOrigin(hooks, saying('hello'));
  await fetchBlob({ uris: [origin.url] });
  const now = Date.now() / 1000;
  const old = { seconds: Math.floor(now) - 60, nanos: 0 };
  await fetchBlob({ uris: [origin.url], oldestContentAccepted: old });
  assert.equal(origin.requests.length, 1);
  const newer = { seconds: Math.ceil(now) + 1, nanos: 0 };
  await fetchBlob({ uris: [origin.url], oldestContentAccepted: newer });
  assert.equal(origin.requests.length, 2);
});

test('AST-13: a moment in the future means to fetch each time', async (t) => {
  const { fetchBlob, t: hooks } = await startAssetServer(t);
  const origin = await httpOrigin(hooks, saying('hello'));
  const seconds = Math.floor(Date.now() / 1000) + 3600;
  for (let times = 1; times <= 3; times++) {
    const oldestContentAccepted = { seconds, nanos: 0 };
    const response = await fetchBlob({ uris: [origin.url], oldestContentAccepted });
    assert.equal(response.status?.code, Code.OK);
    assert.equal(origin.requests.length, times);
  }
});

test('AST-14: an origin that takes longer than the timeout is DEADLINE_EXCEEDED in the response', async (t) => {
  const { fetchBlob, t: hooks } = await startAssetServer(t);
  const origin = await httpOrigin(hooks, (request, response) => {
    if (request.url === '/body') response.write('some');
  });
  const timeout = { seconds: 0, nanos: 50_000_000 };
  for (const uri of [origin.url, `${origin.url}/body`]) {
    const response = await fetchBlob({ uris: [uri], timeout });
    assert.equal(response.status?.code, Code.DEADLINE_EXCEEDED);
    assert.equal(response.uri, uri);
  }
  for (const wrong of [
    { seconds: -1, nanos: 0 },
    { seconds: 0, nanos: -1 },
  ]) {
    const fetched = fetchBlob({ uris: [origin.url], timeout: wrong });
    await assert.rejects(fetched, { code: Code.INVALID_ARGUMENT });
  }
});

test('AST-14: without a timeout the server has its own, and one that is longer is cut', async (t) => {
  const toml = `${allowed}\ndefault_timeout = "50ms"\nmax_timeout = "60ms"`;
  const { fetchBlob, t: hooks } = await startAssetServer(t, { toml });
  const origin = await httpOrigin(hooks, () => {});
  for (const timeout of [undefined, { seconds: 3600, nanos: 0 }]) {
    const response = await fetchBlob({ uris: [origin.url], timeout });
    assert.equal(response.status?.code, Code.DEADLINE_EXCEEDED);
  }
});

test('AST-14: an origin that falls silent is given up before the timeout', async (t) => {
  const { fetchBlob, t: hooks } = await startAssetServer(t, {
    toml: `${allowed}\nidle_timeout = "50ms"`,
  });
  const origin = await httpOrigin(hooks, (request, response) => {
    if (request.url === '/body') response.write('some');
  });
  for (const uri of [origin.url, `${origin.url}/body`]) {
    const response = await fetchBlob({ uris: [uri] });
    assert.equal(response.status?.code, Code.DEADLINE_EXCEEDED);
    assert.match(response.status?.message ?? '', /silent/);
  }
});

test('AST-15: a fetch goes on when its call ends, and a retry finds it', async (t) => {
  const { fetchBlob, t: hooks } = await startAssetServer(t);
  const answers: (() => void)[] = [];
  const asked = Promise.withResolvers<void>();
  const origin = await httpOrigin(hooks, (_request, response) => {
    answers.push(() => response.end('hello'));
    asked.resolve();
  });
  const leaving = new AbortController();
  const call = fetchBlob({ uris: [origin.url] }, { signal: leaving.signal });
  await asked.promise;
  leaving.abort();
  await assert.rejects(call, { code: Code.CANCELLED });
  const retry = fetchBlob({ uris: [origin.url] });
  for (const answer of answers) answer();
  assert.equal((await retry).status?.code, Code.OK);
  assert.equal(origin.requests.length, 1);
});

test('AST-16: those who ask for the same at once share one fetch', async (t) => {
  const { fetchBlob, t: hooks } = await startAssetServer(t);
  const asked = Promise.withResolvers<() => void>();
  const origin = await httpOrigin(hooks, (_request, response) => {
    asked.resolve(() => response.end('hello'));
  });
  const calls = Array.from({ length: 10 }, () => fetchBlob({ uris: [origin.url] }));
  const answer = await asked.promise;
  // A call on the same connection that comes after them has seen them all arrive.
  await fetchBlob({ uris: ['urn:nothing'] });
  answer();
  for (const { status } of await Promise.all(calls)) assert.equal(status?.code, Code.OK);
  assert.equal(origin.requests.length, 1);
});

test('a fetch that is under way does not keep the server from stopping', async (t) => {
  const { fetchBlob, server, t: hooks } = await startAssetServer(t);
  const asked = Promise.withResolvers<void>();
  const origin = await httpOrigin(hooks, () => asked.resolve());
  const leaving = new AbortController();
  const call = fetchBlob({ uris: [origin.url] }, { signal: leaving.signal });
  await asked.promise;
  const request = origin.requests[0];
  leaving.abort();
  await assert.rejects(call);
  const gone = new Promise<void>((resolve) => request?.once('close', resolve));
  await server.stop();
  await gone;
});

test(
  'over HTTPS, the certificate must be one that is trusted',
  { skip: certificateSkip() },
  async (t) => {
    const certificate = selfSigned(t);
    const origin = await httpOrigin(t, saying('hello'), certificate);
    const strict = await startAssetServer(t);
    const refused = await strict.fetchBlob({ uris: [origin.url] });
    assert.equal(refused.status?.code, Code.UNAVAILABLE);
    assert.match(refused.status?.message ?? '', /certificate/);
    const toml = `${allowed}\nca_file = ${JSON.stringify(certificate.file)}`;
    const { fetchBlob } = await startAssetServer(t, { toml });
    assert.equal((await fetchBlob({ uris: [origin.url] })).status?.code, Code.OK);
  },
);

test('a file of certificates that is not there is a problem of the configuration', async (t) => {
  const started = startAssetServer(t, { toml: 'ca_file = "/nowhere/ca.pem"' });
  await assert.rejects(started, { name: 'ConfigError', message: /remote_asset\.ca_file/ });
});
