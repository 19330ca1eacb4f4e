import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { DockerImages } from '../../src/executor/docker-images.ts';
import { findLogin } from '../../src/executor/registry-login.ts';
import { type DockerDaemon, dockerSkip, startDockerDaemon } from '../support/docker-daemon.ts';
import { never } from '../support/never.ts';
import { tempDir } from '../support/temp-dir.ts';

/** A registry without images; `127.0.0.1:PORT`. */
async function startRegistry(t: TestContext, answer: RequestListener): Promise<string> {
  const server = createServer(answer);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  t.after(() => server.closeAllConnections());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function answering(status: number, code: string): RequestListener {
  return (_, response) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ errors: [{ code, message: code.toLowerCase() }] }));
  };
}

function loginFile(t: TestContext, registry: string): string {
  const file = path.join(tempDir(t), 'config.json');
  const auth = Buffer.from('me:pass:word').toString('base64');
  writeFileSync(file, JSON.stringify({ auths: { [registry]: { auth } } }));
  return file;
}

describe('the images of a worker', { timeout: 120_000, skip: dockerSkip }, () => {
  const ending = new AsyncDisposableStack();
  let daemon: DockerDaemon;
  before(async () => {
    daemon = await startDockerDaemon({ after: (end) => ending.defer(end) });
  });
  after(() => ending.disposeAsync());

  const imagesOf = (credentialsPath?: string) => {
    const policy = { image: 'a', allowed: [], requiresDigest: false, pull: 'missing' } as const;
    return new DockerImages(daemon.engine, { ...policy, credentialsPath }, 'amd64');
  };

  for (const [status, code, expected] of [
    [404, 'MANIFEST_UNKNOWN', Code.FAILED_PRECONDITION],
    [401, 'UNAUTHORIZED', Code.FAILED_PRECONDITION],
    [403, 'DENIED', Code.FAILED_PRECONDITION],
    [429, 'TOOMANYREQUESTS', Code.UNAVAILABLE],
  ] as const) {
    it(`DK-07: names an image that its registry answers with ${status}`, async (t) => {
      const registry = await startRegistry(t, answering(status, code));
      await assert.rejects(imagesOf().find(`${registry}/some/image:1`, never), {
        code: expected,
        message: new RegExp(`^image ${registry}/some/image:1 cannot be fetched: `),
      });
    });
  }

  it('DK-07: tells that a registry is not there, for another attempt', async () => {
    await assert.rejects(imagesOf().find('127.0.0.1:1/image:1', never), {
      code: Code.UNAVAILABLE,
      message: /connection refused/,
    });
  });

  it('logs in to a registry with what the file says', async (t) => {
    const seen: (string | undefined)[] = [];
    const registry = await startRegistry(t, (request, response) => {
      const { authorization } = request.headers;
      seen.push(authorization);
      if (authorization !== undefined) return answering(404, 'MANIFEST_UNKNOWN')(request, response);
      response.setHeader('www-authenticate', 'Basic realm="test"');
      return answering(401, 'UNAUTHORIZED')(request, response);
    });
    const images = imagesOf(loginFile(t, registry));
    await assert.rejects(images.find(`${registry}/image:1`, never), {
      message: /manifest unknown/,
    });
    const expected = `Basic ${Buffer.from('me:pass:word').toString('base64')}`;
    assert.ok(seen.includes(expected));
  });

  it('stops waiting for an image when the action is cancelled', async (t) => {
    const registry = await startRegistry(t, () => {});
    const cancel = new AbortController();
    const finding = imagesOf().find(`${registry}/image:1`, cancel.signal);
    cancel.abort();
    await assert.rejects(finding, { name: 'AbortError' });
  });
});

describe('logins for registries', () => {
  it('are found by the host in an image, which is Docker Hub unless it looks like one', (t) => {
    const hub = loginFile(t, 'https://index.docker.io/v1/');
    const own = loginFile(t, 'localhost:5000');
    const login = { username: 'me', password: 'pass:word' };
    const serveraddress = 'https://index.docker.io/v1/';
    assert.deepEqual(findLogin(hub, 'debian:12'), { ...login, serveraddress });
    assert.deepEqual(findLogin(hub, 'team/image'), { ...login, serveraddress });
    assert.equal(findLogin(hub, 'quay.io/image'), undefined);
    assert.deepEqual(findLogin(own, 'localhost:5000/a/b@sha256:0'), {
      ...login,
      serveraddress: 'localhost:5000',
    });
    assert.equal(findLogin(undefined, 'debian'), undefined);
    assert.throws(() => findLogin('/no/such/file', 'debian'), { code: Code.UNAVAILABLE });
  });

  it('that a program keeps are refused, and it is named', (t) => {
    const file = path.join(tempDir(t), 'config.json');
    const auth = Buffer.from('me:pass').toString('base64');
    const auths = { 'https://index.docker.io/v1/': {}, 'quay.io': { auth }, 'gcr.io': { auth } };
    const credHelpers = { 'ghcr.io': 'gh', 'gcr.io': 'gcloud' };
    writeFileSync(file, JSON.stringify({ auths, credsStore: 'pass', credHelpers }));
    for (const [image, program] of [
      ['debian:12', 'pass'],
      ['ghcr.io/team/image', 'gh'],
    ] as const) {
      assert.throws(() => findLogin(file, image), {
        code: Code.UNAVAILABLE,
        message: new RegExp(`leaves the login for \\S+ to docker-credential-${program} `),
      });
    }
    assert.equal(findLogin(file, 'quay.io/image')?.password, 'pass');
    assert.equal(findLogin(file, 'gcr.io/image')?.password, 'pass');
    assert.equal(findLogin(file, 'registry.example/image'), undefined);
  });
});
