import assert from 'node:assert/strict';
import { mkdirSync, readlinkSync, symlinkSync } from 'node:fs';
import { test } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { Tree } from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { ApiClient } from '../support/api-client.ts';
import { blobOf } from '../support/blob-of.ts';
import { inReverse } from '../support/in-reverse.ts';
import { startTestServer } from '../support/start-expbuild-server.ts';
import { tempDir } from '../support/temp-dir.ts';
import { type Fleet, startFleet } from '../support/fleet.ts';

const link = ['--', 'sh', '-c', 'echo said; mkdir out; ln -s /etc/passwd out/link'];
const inside = ['--output-path', 'out', ...link];

/** A folder of inputs with a symlink to an absolute path. */
function inputOf({ at }: Fleet): string {
  mkdirSync(at('in'));
  symlinkSync('/etc/passwd', at('in/link'));
  return at('in');
}

test('RES-21, DIR-14, CAP-13: where absolute symlinks are not allowed, an action can have and make none', async (t) => {
  const fleet = await startFleet(t, '[execution]\nabsolute_symlinks = "disallowed"');
  const { cli, at } = fleet;
  await fleet.worker('one');
  const { stdout } = await cli(['capabilities', '--json']);
  assert.equal((JSON.parse(stdout) as { absoluteSymlinks: string }).absoluteSymlinks, 'DISALLOWED');

  for (const argv of [inside, ['--output-path', 'out/link', ...link]]) {
    const made = await cli(['run', '--output', at('got'), ...argv]);
    assert.notEqual(made.exitCode, 0);
    assert.match(made.stderr, /to "\/etc\/passwd".* has an absolute target, which is not allowed/);
  }
  const given = await cli(['run', '--input', inputOf(fleet), '--', 'true']);
  assert.notEqual(given.exitCode, 0);
  assert.match(given.stderr, /symlink "link" .* has an absolute target, which is not allowed/);
});

test('CAP-13: a result from when absolute symlinks were allowed is a miss', async (context) => {
  const t = inReverse(context);
  const folder = tempDir(t);
  const target = '/etc/passwd';
  const tree = Tree.fromPartial({ root: { symlinks: [{ name: 'l', target }] } });
  const { bytes, digest } = blobOf(Tree.encode(tree).finish());
  const results = [
    { outputSymlinks: [{ path: 'l', target }] },
    { outputDirectories: [{ path: 'd', treeDigest: digest.toMessage() }] },
    { outputSymlinks: [{ path: 'l', target: '../passwd' }] },
  ].map((actionResult, index) => ({
    actionResult,
    actionDigest: blobOf(`action ${index}`).digest.toMessage(),
  }));

  const lenient = await startTestServer(t, { folder });
  const client = new ApiClient(t, lenient.address);
  await client.put({ bytes, digest });
  for (const result of results) await client.updateActionResult(result);
  await lenient.stop();

  const toml = '[execution]\nabsolute_symlinks = "disallowed"';
  const strict = new ApiClient(t, (await startTestServer(t, { folder, toml })).address);
  const [asOutput, inFolder, relative] = results.map(({ actionDigest }) => ({ actionDigest }));
  for (const request of [asOutput, inFolder]) {
    await assert.rejects(strict.getActionResult(request ?? {}), { code: Code.NOT_FOUND });
  }
  assert.ok(await strict.getActionResult(relative ?? {}));
});

test('RES-21, DIR-14, CAP-13: unless said otherwise they are allowed', async (t) => {
  const fleet = await startFleet(t);
  const { cli, at } = fleet;
  await fleet.worker('one');
  const { stdout } = await cli(['capabilities', '--json']);
  assert.equal((JSON.parse(stdout) as { absoluteSymlinks: string }).absoluteSymlinks, 'ALLOWED');
  const made = await cli(['run', '--output', at('got'), ...inside]);
  assert.equal(made.exitCode, 0, made.stderr);
  assert.equal(readlinkSync(at('got/out/link')), '/etc/passwd');
  const given = await cli(['run', '--input', inputOf(fleet), '--', 'readlink', 'link']);
  assert.equal(given.stdout, '/etc/passwd\n', given.stderr);
});
