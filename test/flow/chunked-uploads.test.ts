import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { blobOf } from '../support/blob-of.ts';
import { cuttingProxy } from '../support/cutting-proxy.ts';
import { runCli } from '../support/run-cli.ts';
import { randomBytes } from '../support/seeded-random.ts';
import { startTestServer } from '../support/start-expbuild-server.ts';
import { startTestWorker } from '../support/start-worker.ts';
import { tempDir } from '../support/temp-dir.ts';

const MIB = 2 ** 20;
const noise = Buffer.from(randomBytes(24 * MIB, 1));

/** A real server, and a line to it that counts bytes. */
async function rig(t: TestContext) {
  const folder = tempDir(t);
  const server = await startTestServer(t, { folder });
  const proxy = await cuttingProxy(t, Number(server.address.split(':').at(-1)));
  const run = async (remote: string, ...argv: string[]) => {
    const [command = '', ...rest] = argv;
    const result = await runCli([command, '--remote', remote, ...rest], { folder });
    assert.equal(result.exitCode, 0, result.stderr);
  };
  return { folder, direct: server.address, proxy, run };
}

test('--chunking uploads sends only what changed of a large file', async (t) => {
  const { folder, direct, proxy, run } = await rig(t);
  const [source, copy] = [path.join(folder, 'source'), path.join(folder, 'copy')];
  const versions = [
    noise,
    Buffer.concat([noise.subarray(0, 9 * MIB), noise.subarray(9 * MIB + 7)]),
  ];
  const sentBytes = [];
  for (const bytes of versions) {
    proxy.sent.up = 0;
    await writeFile(source, bytes);
    await run(proxy.address, 'upload', '--chunking', 'uploads', source);
    sentBytes.push(proxy.sent.up);
    await run(direct, 'download', String(blobOf(bytes).digest), '-o', copy);
    assert.ok((await readFile(copy)).equals(bytes));
  }
  const [first = 0, second = Infinity] = sentBytes;
  assert.ok(first > 24 * MIB && first < 26 * MIB, `${first}`);
  assert.ok(second < 5 * MIB, `${second}`);
});

test('a worker sends only what changed of a large output, if configured', async (t) => {
  const { folder, direct, proxy, run } = await rig(t);
  const worker = { server: proxy.address, folder, toml: 'chunking = "uploads"' };
  await startTestWorker(t, worker);
  const [input, output] = [path.join(folder, 'input'), path.join(folder, 'output')];
  mkdirSync(input);
  await writeFile(path.join(input, 'base'), noise);
  const sentBytes = [];
  for (const command of ['(cat base; echo end) > out', '(echo begin; cat base) > out']) {
    proxy.sent.up = 0;
    const paths = ['--input', input, '--output', output, '--output-path', 'out'];
    await run(direct, 'run', ...paths, '--', '/bin/sh', '-c', command);
    sentBytes.push(proxy.sent.up);
  }
  const begin = Buffer.from('begin\n');
  assert.ok((await readFile(path.join(output, 'out'))).equals(Buffer.concat([begin, noise])));
  const [first = 0, second = Infinity] = sentBytes;
  assert.ok(first > 24 * MIB && first < 27 * MIB, `${first}`);
  assert.ok(second < 6 * MIB, `${second}`);
});
