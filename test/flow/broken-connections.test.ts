import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { blobOf } from '../support/blob-of.ts';
import { type Cut, cuttingProxy } from '../support/cutting-proxy.ts';
import { runCli } from '../support/run-cli.ts';
import { randomBytes } from '../support/seeded-random.ts';
import { startTestServer } from '../support/start-expbuild-server.ts';
import { tempDir } from '../support/temp-dir.ts';

const MIB = 2 ** 20;
const sizeBytes = 48 * MIB;

/** A real server on disk, and a line to it that breaks. */
async function rig(t: TestContext, cuts: readonly Cut[]) {
  const folder = tempDir(t);
  const server = await startTestServer(t, { folder });
  const port = Number(server.address.split(':').at(-1));
  const source = path.join(folder, 'large');
  const { digest, bytes } = blobOf(randomBytes(sizeBytes, 1));
  await writeFile(source, bytes);
  const proxy = await cuttingProxy(t, port, cuts);
  const run = (remote: string, ...argv: string[]) =>
    runCli([...argv, '--remote', remote], { folder });
  return { run, digest, bytes, source, proxy, direct: server.address, folder };
}

for (const flags of [[], ['--chunking', 'uploads', '--compression', 'zstd']]) {
  const how = ['an upload', ...flags].join(' ');
  test(`CLI-08: ${how} survives connections that are cut, and sends little twice`, async (t) => {
    const cuts = [{ up: 12 * MIB }, { up: 12 * MIB }, { up: 12 * MIB }];
    const { run, source, proxy, direct, digest, folder, bytes } = await rig(t, cuts);
    const upload = await run(proxy.address, 'upload', source, ...flags);
    assert.equal(upload.exitCode, 0, upload.stderr);
    assert.equal(proxy.connections(), 4);
    assert.ok(proxy.sent.up < 1.5 * sizeBytes, `sent ${proxy.sent.up} bytes of ${sizeBytes}`);
    const copy = path.join(folder, 'copy');
    const download = await run(direct, 'download', String(digest), '-o', copy);
    assert.equal(download.exitCode, 0, download.stderr);
    assert.ok((await readFile(copy)).equals(bytes));
  });
}

test('CLI-08: a download survives connections that are cut, and fetches little twice', async (t) => {
  const cuts = [{ down: 12 * MIB }, { down: 12 * MIB }, { down: 12 * MIB }];
  const { run, source, proxy, direct, digest, folder, bytes } = await rig(t, cuts);
  const upload = await run(direct, 'upload', source);
  assert.equal(upload.exitCode, 0, upload.stderr);
  const copy = path.join(folder, 'copy');
  const download = await run(proxy.address, 'download', String(digest), '-o', copy);
  assert.equal(download.exitCode, 0, download.stderr);
  assert.equal(proxy.connections(), 4);
  assert.ok(proxy.sent.down < 1.5 * sizeBytes, `fetched ${proxy.sent.down} bytes`);
  assert.ok((await readFile(copy)).equals(bytes));
});
