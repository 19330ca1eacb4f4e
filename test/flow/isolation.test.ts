import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isolationOffered } from '../../src/executor/isolation-levels.ts';
import { startFleet } from '../support/fleet.ts';
import { sandboxSkip } from '../support/sandbox.ts';

test('an action that asks for isolation gets it or more, and never less', async (t) => {
  const { cli, worker } = await startFleet(t, '[execution]\nworker_grace = "1s"');
  await worker('plain', '[executor]\ntype = "host"');
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
