import assert from 'node:assert/strict';
import { mkdirSync, readlinkSync, symlinkSync } from 'node:fs';
import { test } from 'node:test';
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
