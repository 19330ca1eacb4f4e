import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { ApiClient } from '../support/api-client.ts';
import { inReverse } from '../support/in-reverse.ts';
import { keepLines } from '../support/keep-lines.ts';
import { runCli } from '../support/run-cli.ts';
import { startTestServer } from '../support/start-expbuild-server.ts';
import { startTestWorker } from '../support/start-worker.ts';
import { tempDir } from '../support/temp-dir.ts';

const script = 'echo out; echo err >&2; echo file > file; mkdir -p dir/sub; echo x > dir/sub/x';

const digestOf = (text: string) => {
  const [hash = '', size] = text.split('/').slice(-2);
  return { hash, sizeBytes: Number(size) };
};

test('AC-11, CLI-18: of a result in the action cache all is stored, and nothing is raw', async (context) => {
  const t = inReverse(context);
  const folder = tempDir(t);
  const { log, lines } = keepLines();
  const { address } = await startTestServer(t, { folder: path.join(folder, 'server'), log });
  await startTestWorker(t, { folder: path.join(folder, 'worker'), server: address });
  const environment = { EXPBUILD_REMOTE_ENDPOINT: address };
  const outputs = ['--output-path', 'file', '--output-path', 'dir/'];
  const argv = [...outputs, '--', '/bin/sh', '-c', script];
  const run = await runCli(['run', '--output', path.join(folder, 'out'), ...argv], {
    folder,
    environment,
  });
  assert.equal(run.exitCode, 0, run.stderr);
  const prepare = ['prepare-action', '--dry-run', '--json', ...argv];
  const { stdout } = await runCli(prepare, { folder, environment });
  const { action, command } = JSON.parse(stdout) as { action: string; command: string };
  const api = new ApiClient(t, address);
  const result = await api.getActionResult({ actionDigest: digestOf(action) });
  const { outputFiles, outputDirectories, stdoutDigest, stderrDigest } = result;
  assert.deepEqual([outputFiles.length, outputDirectories.length], [1, 1]);
  const contents = outputFiles.map((file) => file.contents.length);
  assert.deepEqual([result.stdoutRaw.length, result.stderrRaw.length, ...contents], [0, 0, 0]);
  const wanted = [
    digestOf(action),
    digestOf(command),
    stdoutDigest,
    stderrDigest,
    ...outputFiles.map((file) => file.digest),
    ...outputDirectories.map((directory) => directory.treeDigest),
  ].map((digest) => digest ?? assert.fail('a digest is not set'));
  const { missingBlobDigests } = await api.findMissing({ blobDigests: wanted });
  assert.deepEqual(missingBlobDigests, []);
  // A worker reports what it has uploaded; it is the server that fills the action cache.
  const methods = lines.map(({ method }) => String(method));
  assert.ok(methods.some((method) => method.endsWith('/Execute')));
  assert.ok(!methods.some((method) => method.endsWith('/UpdateActionResult')));
});
