import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { appears } from '../support/appears.ts';
import { FakeTerminal } from '../support/fake-terminal.ts';
import { startFleet } from '../support/fleet.ts';

test('an action that runs while the server restarts runs once, and its result arrives', async (t) => {
  const { cli, worker, server, restart, at } = await startFleet(t);
  await worker('one');
  mkdirSync(at('seen'));
  const started = appears(at('seen'), 'started');
  const script = `echo x >> ${at('seen')}/runs; touch ${at('seen')}/started
    until [ -e ${at('seen')}/go ]; do sleep 0.01; done; echo done > out`;
  const argv = ['run', '--output-path', 'out', '--output', at('got'), '--', 'sh', '-c', script];
  const running = cli(argv);
  await started;
  await server.stop();
  await restart();
  writeFileSync(at('seen/go'), '');
  const ended = await running;
  assert.equal(ended.exitCode, 0, ended.stderr);
  assert.equal(readFileSync(at('got/out'), 'utf8'), 'done\n');
  assert.equal(readFileSync(at('seen/runs'), 'utf8'), 'x\n');
});

test('an action that is queued while the server restarts runs afterwards', async (t) => {
  const { cli, worker, server, restart } = await startFleet(t);
  const terminal = new FakeTerminal();
  const running = cli(['run', '--', 'echo', 'late'], { terminal });
  await terminal.shown(/^queued: no worker is connected$/m);
  await server.stop();
  await restart();
  await worker('one');
  const ended = await running;
  assert.equal(ended.stdout, 'late\n', ended.stderr);
});

test('a worker that is stopped finishes what it runs, and takes no more', async (t) => {
  const { cli, worker, at } = await startFleet(t);
  const one = await worker('one');
  mkdirSync(at('seen'));
  const started = appears(at('seen'), 'started');
  const script = `touch ${at('seen')}/started; until [ -e ${at('seen')}/go ]; do sleep 0.01; done`;
  const first = cli(['run', '--', 'sh', '-c', script]);
  await started;
  const stopping = one.stop();
  const second = cli(['run', '--', 'true']);
  await worker('two');
  assert.match((await second).stderr, /executed on two/);
  writeFileSync(at('seen/go'), '');
  assert.match((await first).stderr, /executed on one/);
  await stopping;
});

test('a worker may be there before its server', async (t) => {
  const { cli, worker, server, restart } = await startFleet(t);
  await server.stop();
  await worker('early');
  await restart();
  assert.match((await cli(['run', '--', 'true'])).stderr, /executed on early/);
});
