import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { createLog } from '../../../src/base/log.ts';
import { Code } from '../../../src/base/status.ts';
import { qualifiersOf } from '../../support/asset-client.ts';
import { saying, sri, startAssetServer } from '../../support/asset-server.ts';
import { httpOrigin } from '../../support/http-origin.ts';

test('AST-20, BZL-21: headers go to the origin, each to the URIs that it is for', async (t) => {
  const lines: string[] = [];
  const write = (line: string) => void lines.push(line);
  const log = createLog({ level: 'debug', format: 'json', write, now: () => 0 });
  const { fetchBlob, t: hooks, folder, server } = await startAssetServer(t, { onDisk: true, log });
  const origin = await httpOrigin(hooks, (request, response) => {
    if (request.url === '/first') response.statusCode = 404;
    response.end('hello');
  });
  const qualifiers = qualifiersOf({
    'http_header:X-All': 'secret-all',
    'http_header:Authorization': 'secret-general',
    'http_header_url:1:Authorization': 'secret-second',
    'bazel.auth_headers': JSON.stringify({
      [`${origin.url}/first`]: { Authorization: 'secret-json', 'X-More': ['secret-a', 'secret-b'] },
    }),
  });
  const uris = [`${origin.url}/first`, `${origin.url}/second`];
  const response = await fetchBlob({ uris, qualifiers });
  assert.equal(response.status?.code, Code.OK);
  const [first, second] = origin.requests.map(({ headers }) => headers);
  assert.equal(first?.['x-all'], 'secret-all');
  assert.equal(first?.authorization, 'secret-json');
  assert.equal(first?.['x-more'], 'secret-a, secret-b');
  assert.equal(second?.['x-all'], 'secret-all');
  assert.equal(second?.authorization, 'secret-second');
  assert.equal(second?.['x-more'], undefined);
  assert.deepEqual(response.qualifiers, []);

  await server.stop();
  assert.doesNotMatch(lines.join(''), /secret/);
  const files = globSync('data/**/*', { cwd: folder, withFileTypes: true });
  for (const file of files.filter((entry) => entry.isFile())) {
    const bytes = readFileSync(path.join(file.parentPath, file.name), 'latin1');
    assert.ok(!bytes.includes('secret'), file.name);
  }
});

test('AST-20: user and password of a URI are sent, and kept nowhere', async (t) => {
  const { fetchBlob, t: hooks, folder, server } = await startAssetServer(t, { onDisk: true });
  const origin = await httpOrigin(hooks, saying('hello'));
  const uri = origin.url.replace('//', '//me:se%20cret@');
  assert.equal((await fetchBlob({ uris: [uri] })).status?.code, Code.OK);
  const sent = Buffer.from('me:se cret').toString('base64');
  assert.equal(origin.requests[0]?.headers.authorization, `Basic ${sent}`);
  await server.stop();
  for (const name of globSync('data/remote_asset/*.db*', { cwd: folder })) {
    assert.ok(!readFileSync(path.join(folder, name), 'latin1').includes('cret'), name);
  }
});

test('AST-20, AST-21: a canonical id, which Bazel makes of URIs, is kept nowhere', async (t) => {
  const { fetchBlob, t: hooks, folder, server } = await startAssetServer(t, { onDisk: true });
  const origin = await httpOrigin(hooks, saying('hello'));
  const qualifiers = qualifiersOf({ 'bazel.canonical_id': `${origin.url}/?signature=secret` });
  for (let times = 0; times < 2; times++) await fetchBlob({ uris: [origin.url], qualifiers });
  assert.equal(origin.requests.length, 1);
  await server.stop();
  const files = globSync('data/remote_asset/*.db*', { cwd: folder });
  assert.ok(files.length > 0);
  for (const name of files) {
    assert.ok(!readFileSync(path.join(folder, name), 'latin1').includes('signature'), name);
  }
});

test('AST-21: another canonical id is another asset', async (t) => {
  const { fetchBlob, t: hooks } = await startAssetServer(t);
  const origin = await httpOrigin(hooks, saying('hello'));
  for (const id of ['a', 'b', 'a']) {
    const qualifiers = qualifiersOf({ 'bazel.canonical_id': id });
    await fetchBlob({ uris: [origin.url], qualifiers });
  }
  assert.equal(origin.requests.length, 2);
});

test('AST-21: what was fetched with a password is not for those who have none', async (t) => {
  const { fetchBlob, t: hooks } = await startAssetServer(t);
  const origin = await httpOrigin(hooks, ({ headers }, response) => {
    if (headers.authorization !== 'Bearer right') response.statusCode = 401;
    response.end('hello');
  });
  const uris = [origin.url];
  const right = { 'http_header:Authorization': 'Bearer right' };
  const wrong = { 'http_header:Authorization': 'Bearer wrong' };
  const codeWith = async (values: Readonly<Record<string, string>>) =>
    (await fetchBlob({ uris, qualifiers: qualifiersOf(values) })).status?.code;
  assert.equal(await codeWith(right), Code.OK);
  assert.equal(await codeWith({}), Code.PERMISSION_DENIED);
  assert.equal(await codeWith(wrong), Code.PERMISSION_DENIED);
  assert.equal(origin.requests.length, 3);
  assert.equal(await codeWith(right), Code.OK);
  assert.equal(origin.requests.length, 3);

  const checksum = { 'checksum.sri': sri('hello') };
  assert.equal(await codeWith({ ...right, ...checksum }), Code.OK);
  assert.equal(await codeWith(checksum), Code.OK);
  assert.equal(origin.requests.length, 4);
});
