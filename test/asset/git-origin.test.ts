import assert from 'node:assert/strict';
import { randomFillSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { DownloadRoom } from '../../src/asset/download-room.ts';
import { gitOrigin } from '../../src/asset/git-origin.ts';
import { HostPolicy } from '../../src/asset/host-policy.ts';
import { defaultHttpOptions } from '../../src/asset/http-origin.ts';
import { systemClock } from '../../src/base/clock.ts';
import { newId } from '../../src/base/id.ts';
import { Code } from '../../src/base/status.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import { gitServer, gitSkip } from '../support/git-server.ts';
import { PlainBlobStore } from '../support/memory-blob-store.ts';
import { never } from '../support/never.ts';
import { tempDir } from '../support/temp-dir.ts';

/** Fetches `uri`, all hosts of which are said to be at `addresses`. */
function fetchFrom(
  t: TestContext,
  uri: string,
  addresses: readonly string[],
  open: string[],
  signal = never,
) {
  const policy = new HostPolicy(
    { allowedHosts: ['*'], allowedPrivateHosts: open },
    async () => addresses,
  );
  const origin = gitOrigin(policy, {
    ...defaultHttpOptions,
    trustedCertificates: undefined,
    folder: tempDir(t),
    sizeBytesMax: 2 ** 20,
    room: new DownloadRoom(2 ** 22),
    newId,
    clock: systemClock,
    git: '/usr/bin/git',
  });
  const wanted = { url: new URL(uri), content: new Map(), headers: new Map() };
  const rest = { integrity: undefined, digestFunction: sha256 };
  return origin.fetch({ ...wanted, ...rest }, new PlainBlobStore(), signal);
}

test(
  'AST-24: git connects to the address that was checked, and to no other',
  { skip: gitSkip() },
  async (t) => {
    const server = await gitServer(t);
    const { folder, commit } = server.repository('a');
    writeFileSync(path.join(folder, 'file'), 'hello');
    commit('first');
    const { port } = new URL(server.url);
    // No DNS knows this name: git gets there only by what it is told.
    const uri = `http://repositories.invalid:${port}/a.git`;
    const root = await fetchFrom(t, uri, ['127.0.0.1'], ['repositories.invalid']);
    assert.ok(root.sizeBytes > 0);
    assert.equal(server.requests[0]?.headers.host, `repositories.invalid:${port}`);

    const requests = server.requests.length;
    const hidden = fetchFrom(t, uri, ['127.0.0.1'], []);
    await assert.rejects(hidden, { name: 'OriginFailure', code: Code.PERMISSION_DENIED });
    // A name that this machine knows is not looked up again.
    const late = AbortSignal.timeout(300);
    const nowhere = ['192.0.2.1'];
    const local = fetchFrom(t, `http://localhost:${port}/a.git`, nowhere, ['localhost'], late);
    await assert.rejects(local);
    assert.equal(server.requests.length, requests);
  },
);

test(
  'AST-08: what a small repository sends is counted while it comes',
  { skip: gitSkip() },
  async (t) => {
    const server = await gitServer(t);
    const { folder, commit } = server.repository('a');
    writeFileSync(path.join(folder, 'file'), randomFillSync(Buffer.alloc(2 ** 21)));
    commit('first');
    // Git would unpack few objects into files that are elsewhere.
    await assert.rejects(fetchFrom(t, `${server.url}/a.git`, [], ['127.0.0.1']), {
      name: 'OriginFailure',
      code: Code.RESOURCE_EXHAUSTED,
      message: /^the repository has more than 1048576 bytes/,
    });
  },
);

test(
  'a name that is far longer than any disk takes is not gathered',
  { skip: gitSkip() },
  async (t) => {
    const server = await gitServer(t);
    const { folder, commit, run } = server.repository('a');
    writeFileSync(path.join(folder, 'file'), 'hello');
    commit('first');
    const blob = Buffer.from(run('rev-parse', 'HEAD:file'), 'hex');
    const raw = path.join(tempDir(t), 'tree');
    writeFileSync(raw, Buffer.concat([Buffer.from(`100644 ${'a'.repeat(2 ** 21)}\0`), blob]));
    const tree = run('hash-object', '-t', 'tree', '-w', '--literally', raw);
    run('update-ref', 'refs/heads/main', run('commit-tree', tree, '-m', 'second'));
    await assert.rejects(fetchFrom(t, `${server.url}/a.git`, [], ['127.0.0.1']), {
      name: 'OriginFailure',
      code: Code.ABORTED,
      message: /path that is longer than any disk takes/,
    });
  },
);
