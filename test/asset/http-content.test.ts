import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { collect } from '../../src/base/chunks.ts';
import { Code } from '../../src/base/status.ts';
import { HostPolicy } from '../../src/asset/host-policy.ts';
import { httpContent } from '../../src/asset/http-content.ts';
import { defaultHttpOptions } from '../../src/asset/http-origin.ts';
import { httpOrigin } from '../support/http-origin.ts';
import { never } from '../support/never.ts';

/** `names` are all that the DNS knows; those in `open` may be private. */
async function get(
  uri: string,
  headers: Readonly<Record<string, string>> = {},
  open: readonly string[] = ['127.0.0.1'],
  resolve = async (_name: string): Promise<readonly string[]> => ['127.0.0.1'],
): Promise<string> {
  const policy = new HostPolicy({ allowedHosts: ['*'], allowedPrivateHosts: open }, resolve);
  const options = { ...defaultHttpOptions, trustedCertificates: undefined };
  const sent = new Map(Object.entries(headers));
  const { chunks } = await httpContent(new URL(uri), sent, policy, options, never);
  return Buffer.from(await collect(chunks)).toString();
}

/** Redirects /to/STATUS/TARGET there, and says hello elsewhere. */
const redirecting = (t: TestContext) =>
  httpOrigin(t, (request, response) => {
    const [, status, target = ''] = /^\/to\/(\d+)\/(.*)$/.exec(request.url ?? '') ?? [];
    if (status !== undefined) {
      response.writeHead(Number(status), { location: decodeURIComponent(target) });
      response.end('elsewhere');
    } else response.end('hello');
  });

for (const status of [301, 302, 303, 307, 308]) {
  test(`a redirection by ${status} is followed, with the same headers on the same host`, async (t) => {
    const { url, requests } = await redirecting(t);
    assert.equal(await get(`${url}/to/${status}/%2Ffile`, { authorization: 'secret' }), 'hello');
    assert.deepEqual(
      requests.map((request) => [request.method, request.url, request.headers.authorization]),
      [
        ['GET', `/to/${status}/%2Ffile`, 'secret'],
        ['GET', '/file', 'secret'],
      ],
    );
  });
}

test('AST-20: another host, or another port of the same, does not get the headers', async (t) => {
  const first = await redirecting(t);
  const second = await httpOrigin(t, (_request, response) => void response.end('second'));
  const headers = { authorization: 'secret', cookie: 'secret', 'x-token': 'secret', accept: 'a/b' };
  const uri = `${first.url}/to/302/${encodeURIComponent(second.url)}`;
  assert.equal(await get(uri.replace('//', '//user:secret@'), headers), 'second');
  assert.equal(first.requests[0]?.headers['x-token'], 'secret');
  const { headers: seen } = second.requests[0] ?? {};
  assert.equal(seen?.accept, 'a/b');
  assert.doesNotMatch(JSON.stringify(seen), /secret/);
});

test('AST-24: a redirection to an address that is not allowed is not followed', async (t) => {
  const inside = await httpOrigin(t, (_request, response) => void response.end('inside'));
  const { port } = new URL(inside.url);
  const outside = await redirecting(t);
  const outsidePort = new URL(outside.url).port;
  // Only the origin itself may be private, and it sends us to its neighbour.
  const open = [`127.0.0.1:${outsidePort}`];
  for (const target of [
    inside.url,
    `http://localhost:${port}/`,
    `http://[::ffff:127.0.0.1]:${port}/`,
    'http://169.254.169.254/latest/meta-data/',
    'file:///etc/passwd',
  ]) {
    const uri = `${outside.url}/to/302/${encodeURIComponent(target)}`;
    await assert.rejects(get(uri, {}, open), { code: Code.PERMISSION_DENIED }, target);
  }
  assert.equal(inside.requests.length, 0);
});

test('AST-24: the address that was checked is the one that is connected to', async (t) => {
  const { url, requests } = await redirecting(t);
  const { port } = new URL(url);
  // The DNS answers once with the address that is allowed; a second look would get another.
  let looks = 0;
  const resolve = async () => (++looks === 1 ? ['127.0.0.1'] : ['192.0.2.1']);
  const answer = await get(`http://rebound.example:${port}/`, {}, ['rebound.example'], resolve);
  assert.equal(answer, 'hello');
  assert.equal(looks, 1);
  assert.equal(requests[0]?.headers.host, `rebound.example:${port}`);
});

test('AST-24: a name that leads to loopback is not fetched', async (t) => {
  const { url, requests } = await redirecting(t);
  const { port } = new URL(url);
  const fetched = get(`http://evil.example:${port}/`);
  await assert.rejects(fetched, { code: Code.PERMISSION_DENIED });
  assert.equal(requests.length, 0);
});

test('redirections without an end are ABORTED', async (t) => {
  const { url, requests } = await httpOrigin(t, (_request, response) => {
    response.writeHead(302, { location: '/again' });
    response.end();
  });
  await assert.rejects(get(url), { code: Code.ABORTED });
  assert.equal(requests.length, defaultHttpOptions.redirectsMax + 1);
});

for (const [what, location] of [
  ['nothing', undefined],
  ['what is no URL', 'http://['],
] as const) {
  test(`a redirection to ${what} is ABORTED`, async (t) => {
    const { url } = await httpOrigin(t, (_request, response) => {
      if (location !== undefined) response.setHeader('location', location);
      response.writeHead(302).end();
    });
    await assert.rejects(get(url), { code: Code.ABORTED });
  });
}

test('an origin that does not speak HTTP is UNAVAILABLE', async (t) => {
  const { url } = await httpOrigin(t, (request) => request.socket.end('SSH-2.0-nonsense\r\n'));
  await assert.rejects(get(url), { code: Code.UNAVAILABLE });
});
