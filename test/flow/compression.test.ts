import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { blobOf } from '../support/blob-of.ts';
import { cuttingProxy } from '../support/cutting-proxy.ts';
import { runCli } from '../support/run-cli.ts';
import { startTestServer } from '../support/start-expbuild-server.ts';
import { tempDir } from '../support/temp-dir.ts';

for (const [what, sizeBytes] of [
  ['a large blob', 8 * 2 ** 20],
  ['a small blob', 100_000],
] as const) {
  test(`--compression zstd moves ${what} in few bytes, both ways`, async (t) => {
    const folder = tempDir(t);
    const server = await startTestServer(t, { folder });
    const proxy = await cuttingProxy(t, Number(server.address.split(':').at(-1)));
    const { digest, bytes } = blobOf(Buffer.alloc(sizeBytes, 'what a compiler says, again '));
    const [source, copy] = [path.join(folder, 'source'), path.join(folder, 'copy')];
    await writeFile(source, bytes);
    for (const argv of [
      ['upload', source],
      ['download', String(digest), '-o', copy],
    ]) {
      const flags = ['--remote', proxy.address, '--compression', 'zstd'];
      const { exitCode, stderr } = await runCli([...argv, ...flags], { folder });
      assert.equal(exitCode, 0, stderr);
    }
    assert.ok((await readFile(copy)).equals(bytes));
    assert.ok(proxy.sent.up + proxy.sent.down < sizeBytes / 5, JSON.stringify(proxy.sent));
  });
}
