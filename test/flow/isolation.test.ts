import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isolationOffered } from '../../src/executor/isolation-levels.ts';
import { startFleet } from '../support/fleet.ts';
import { sandboxSkip } from '../support/sandbox.ts';

test('an action that asks for isolation gets it or more, and never less', async (t) => {
  const { cli, worker, joined } = await startFleet(t, '[execution]\nworker_grace = "1s"');
  await worker('plain', '[executor]\ntype = "host"');
  await joined('plain');
  const ran = (level: string) =>
    cli(['run', '--no-cache', '--platform', `isolation=${level}`, '--', 'pwd']);
  assert.equal((await ran('host')).exitCode, 0);
  const refused = ['sandbox', 'docker', 'gvisor', 'none', 'Host'].map(async (level) => {
    const { exitCode, stderr } = await ran(level);
    assert.notEqual(exitCode, 0);
    assert.match(stderr, new RegExp(`isolation=${level}`));
  });
  await Promise.all(refused);
  if (sandboxSkip !== false) return t.skip(sandboxSkip);
  await worker('shut', '[executor]\ntype = "sandbox"', { PATH: '/usr/local/bin:/usr/bin' });
  await joined('shut');
  assert.equal((await ran('sandbox')).stdout, '/build\n');
  assert.match(
    (await cli(['workers', 'show', 'shut'])).stdout,
    /isolation=host.*isolation=sandbox/s,
  );
  await cli(['workers', 'drain', 'plain']);
  // It asked for no more than that.
  assert.equal((await ran('host')).stdout, '/build\n');
  return undefined;
});

test('an action that asks for a network gets a worker that has one, and one that asks for none a sandbox', async (t) => {
  if (sandboxSkip !== false) return t.skip(sandboxSkip);
  const { cli, worker, joined } = await startFleet(t, '[execution]\nworker_grace = "1s"');
  const environment = { PATH: '/usr/local/bin:/usr/bin' };
  await worker('shut', '[executor]\ntype = "sandbox"', environment);
  await joined('shut');
  const interfaces = async (network: string) => {
    const flags = ['--no-cache', '--platform', `network=${network}`];
    const command = 'tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d " "';
    return cli(['run', ...flags, '--', 'sh', '-c', command]);
  };
  assert.match(
    (await interfaces('on')).stderr,
    /no worker has network=on; workers offer network=off/,
  );
  await worker('host', '[executor]\ntype = "host"');
  await joined('host');
  assert.match((await interfaces('on')).stderr, /executed on host/);
  await cli(['workers', 'drain', 'host']);
  await worker('open', '[executor]\ntype = "sandbox"\nnetwork = "on-request"', environment);
  await joined('open');
  assert.match((await interfaces('on')).stderr, /executed on open/);
  await cli(['workers', 'undrain', 'host']);
  await cli(['workers', 'drain', 'shut', 'open']);
  const { exitCode, stderr } = await interfaces('off');
  assert.notEqual(exitCode, 0, stderr);
  await cli(['workers', 'undrain', 'shut']);
  assert.equal((await interfaces('off')).stdout, 'lo\n');
  return undefined;
});

test('an action that asks for an image runs where it may have it, or where that is said not to matter', async (t) => {
  const { cli, worker, joined } = await startFleet(t, '[execution]\nworker_grace = "1s"');
  await worker('host', '[executor]\ntype = "host"');
  await joined('host');
  const run = async () =>
    cli(['run', '--no-cache', '--platform', 'container-image=docker://a:1', '--', 'true']);
  const { exitCode, stderr } = await run();
  assert.notEqual(exitCode, 0);
  assert.match(stderr, /no worker has any container-image .*executor.type = "docker"/);
  await worker('any', '[platform]\ncontainer-image = "*"\n[executor]\ntype = "host"');
  await joined('any');
  assert.match((await run()).stderr, /executed on any/);
});

test('a worker offers its own isolation and all weaker ones', () => {
  assert.deepEqual(isolationOffered('host'), [{ name: 'isolation', value: 'host' }]);
  const strongest = isolationOffered('gvisor').map(({ value }) => value);
  assert.deepEqual(strongest, ['host', 'sandbox', 'docker', 'gvisor']);
});

test('no configuration can offer an isolation that the worker does not have', async (t) => {
  const { worker } = await startFleet(t);
  await assert.rejects(async () => worker('liar', '[platform]\nisolation = "gvisor"'), {
    message: /"platform.isolation" is for the worker to say: see executor.type/,
  });
});
