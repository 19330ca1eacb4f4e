import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { chunksOf } from '../../src/base/chunks.ts';
import { createLog } from '../../src/base/log.ts';
import { Code } from '../../src/base/status.ts';
import { SystemError } from '../../src/cli/exit-codes.ts';
import { ConfigError } from '../../src/config/read-config.ts';
import { ApiClient } from '../support/api-client.ts';
import { blobOf } from '../support/blob-of.ts';
import { FakeTerminal } from '../support/fake-terminal.ts';
import { inReverse } from '../support/in-reverse.ts';
import { never } from '../support/never.ts';
import { keepLines } from '../support/keep-lines.ts';
import { runCli } from '../support/run-cli.ts';
import { startTestServer } from '../support/start-expbuild-server.ts';
import { tempDir } from '../support/temp-dir.ts';

const capabilitiesOf = async (address: string, folder: string) => {
  const { stdout } = await runCli(['capabilities', '--json', '--remote', address], { folder });
  return JSON.parse(stdout) as {
    execution: boolean;
    digestFunctions: string[];
    executionDigestFunctions: string[];
    actionCacheUpdates: boolean;
  };
};

test('CAP-02: backend "none" is a cache only', async (context) => {
  const t = inReverse(context);
  const folder = tempDir(t);
  const { address } = await startTestServer(t, { folder, toml: '[execution]\nbackend = "none"' });
  const shown = await capabilitiesOf(address, folder);
  assert.equal(shown.execution, false);
  assert.deepEqual(shown.executionDigestFunctions, []);
  const ended = await runCli(['run', '--remote', address, '--', 'true'], { folder });
  assert.equal(ended.exitCode, 77);
  assert.match(ended.stderr, /runs no actions: it is a cache only/);
});

test('RAC-07, AC-16, CAP-09: clients store results only where the configuration lets them; who tries is logged', async (context) => {
  const t = inReverse(context);
  const folder = tempDir(t);
  const toml = '[action_cache]\nupdates_allowed = false';
  const { log, lines } = keepLines();
  const { address } = await startTestServer(t, { folder, toml, log });
  assert.equal((await capabilitiesOf(address, folder)).actionCacheUpdates, false);
  const api = new ApiClient(t, address);
  const update = { actionDigest: blobOf('a').digest.toMessage(), actionResult: { exitCode: 0 } };
  await assert.rejects(api.updateActionResult(update), {
    code: Code.PERMISSION_DENIED,
    details: /action_cache\.updates_allowed/,
  });
  const { actionDigest } = update;
  await assert.rejects(api.getActionResult({ actionDigest }), { code: Code.NOT_FOUND });
  const line = lines.find(({ code }) => code === 'PERMISSION_DENIED');
  assert.equal(line?.['level'], 'info');
  assert.match(String(line?.['method']), /UpdateActionResult$/);
  assert.match(String(line?.['peer']), /^127\.0\.0\.1:\d+$/);
});

test('the digest functions are those of the configuration, in its order', async (context) => {
  const t = inReverse(context);
  const folder = tempDir(t);
  const toml = '[digest]\nfunctions = ["BLAKE3", "SHA1"]';
  const { address } = await startTestServer(t, { folder, toml });
  const flags = ['--remote', address, '--digest-function', 'BLAKE3', '--json'];
  const { stdout } = await runCli(['capabilities', ...flags], { folder });
  const shown = JSON.parse(stdout) as { digestFunctions: string[] };
  assert.deepEqual(shown.digestFunctions, ['BLAKE3', 'SHA1']);
});

test('ERR-03, CAP-15: a blob that never fits the store is above the announced limit', async (context) => {
  const t = inReverse(context);
  const folder = tempDir(t);
  const toml = '[cas_storage]\nmax_size = "1MiB"';
  const { address, blobsOf } = await startTestServer(t, { folder, toml });
  const { stdout } = await runCli(['capabilities', '--json', '--remote', address], { folder });
  const { maxCasBlobSizeBytes } = JSON.parse(stdout) as { maxCasBlobSizeBytes: number };
  assert.ok(maxCasBlobSizeBytes <= 2 ** 20, stdout);
  const write = (sizeBytes: number) => {
    const { digest, bytes } = blobOf(Buffer.alloc(sizeBytes));
    return blobsOf('').write(digest, chunksOf(bytes), never);
  };
  await write(maxCasBlobSizeBytes);
  await assert.rejects(write(maxCasBlobSizeBytes + 1), { code: Code.INVALID_ARGUMENT });
});

for (const [what, toml] of [
  ['an unknown digest function', '[digest]\nfunctions = ["MURMUR3"]'],
  ['a malformed instance name', 'instance_names = ["a//b"]'],
] as const) {
  test(`${what} is a problem of the configuration`, async (context) => {
    const t = inReverse(context);
    await assert.rejects(startTestServer(t, { folder: tempDir(t), toml }), ConfigError);
  });
}

test('an address that is taken is told as such, and nothing stays open', async (context) => {
  const t = inReverse(context);
  const { address } = await startTestServer(t, { folder: tempDir(t) });
  const folder = tempDir(t);
  const file = '[cas_storage]\ntype = "memory"';
  const taken = startTestServer(t, { folder, toml: file, address });
  await assert.rejects(taken, (error: Error) => {
    assert.ok(error instanceof SystemError);
    assert.match(error.message, new RegExp(`^${address} is in use: .*--address`));
    return true;
  });
  await startTestServer(t, { folder, toml: file });
});

test('two servers on one data folder: the second refuses, until the first is gone', async (context) => {
  const t = inReverse(context);
  const folder = tempDir(t);
  const first = await startTestServer(t, { folder });
  await assert.rejects(startTestServer(t, { folder }), /in use by another expbuild process/);
  await first.stop();
  await startTestServer(t, { folder });
});

test('with everything in memory nothing is written to the disk', async (context) => {
  const t = inReverse(context);
  const folder = tempDir(t);
  const toml = '[cas_storage]\ntype = "memory"\n[action_cache]\ntype = "memory"';
  await startTestServer(t, { folder, toml });
  assert.deepEqual(readdirSync(folder), []);
});

test('all data may be in one folder', async (context) => {
  const t = inReverse(context);
  const folder = tempDir(t);
  const one = path.join(folder, 'one');
  const tables = ['cas_storage', 'action_cache', 'scheduler'];
  const toml = tables.map((table) => `[${table}]\nroot_path = ${JSON.stringify(one)}`).join('\n');
  await startTestServer(t, { folder, toml });
});

test('listening beyond this machine is warned of', async (context) => {
  const t = inReverse(context);
  const lines: string[] = [];
  const write = (line: string) => void lines.push(line);
  const log = createLog({ level: 'warn', format: 'text', write, now: () => 0 });
  const toml = '[cas_storage]\ntype = "memory"';
  await startTestServer(t, { folder: tempDir(t), toml, log });
  assert.deepEqual(lines, []);
  await startTestServer(t, { folder: tempDir(t), toml, log, address: '0.0.0.0:0' });
  assert.match(lines.join(''), /WARN .* without authentication/);
});

test('expbuild server serves until it is told to leave, and logs that it does', async (context) => {
  const t = inReverse(context);
  const folder = tempDir(t);
  const leaving = new AbortController();
  const flags = ['--address', '127.0.0.1:0', '--set', 'cas_storage.type=memory', '--verbose'];
  const terminal = new FakeTerminal();
  const serving = runCli(['server', ...flags], { folder, leaving: leaving.signal, terminal });
  await terminal.shown(/"message":"serving","address":"127\.0\.0\.1:\d+"/);
  const [, address = ''] = /"address":"([^"]+)"/.exec(terminal.stderr) ?? [];
  assert.equal((await capabilitiesOf(address, folder)).execution, true);
  leaving.abort();
  assert.equal((await serving).exitCode, 0);
});
