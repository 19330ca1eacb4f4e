import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import { startFleet } from '../support/fleet.ts';
import { runCli } from '../support/run-cli.ts';
import { tempDir } from '../support/temp-dir.ts';

test('conformance reports as text: the run, each probe with its level, and the counts', async (t) => {
  const { server, cli } = await startFleet(t);
  const { exitCode, stdout } = await cli(['conformance', server.address, '--only', 'get-tree']);
  assert.equal(exitCode, 0);
  assert.match(stdout, /^127\.0\.0\.1:\d+, instance "main", SHA256, seed \d+\n\nget-tree\n/);
  assert.match(stdout, /^ {2}pass {2}MUST {4}[A-Z]+-\d+: GetTree gives every directory/m);
  assert.match(stdout, /\d+ rules tested: \d+ kept; broken: 0 that a server must keep, /);
});

test('conformance reports as one JSON object', async (t) => {
  const { server, cli } = await startFleet(t);
  const argv = ['conformance', '--remote', server.address, '--json', '--only', 'operations'];
  const { exitCode, stdout } = await cli([...argv, '--seed', '7']);
  assert.equal(exitCode, 0);
  const report = JSON.parse(stdout) as Record<string, unknown> & {
    rules: object[];
    probes: object[];
  };
  const { rules, probes, ...about } = report;
  assert.deepEqual(about, {
    endpoint: server.address,
    instanceName: 'main',
    digestFunction: 'SHA256',
    seed: 7,
    counts: { held: 6, brokenMust: 0, brokenOther: 0, notApplicable: 0, notRun: 0 },
  });
  assert.deepEqual(Object.keys(rules[0] ?? {}), ['id', 'level', 'outcome']);
  assert.deepEqual(Object.keys(probes[0] ?? {}), ['area', 'ids', 'level', 'title', 'outcome']);
});

test('conformance runs no action unless it is told to', async (t) => {
  const { server, cli } = await startFleet(t);
  const { exitCode, stdout } = await cli(['conformance', server.address, '--only', 'running']);
  assert.equal(exitCode, 0);
  assert.match(stdout, /^ {2}n\/a {3}\S+ +.* \(--execute is not given\)$/m);
  assert.doesNotMatch(stdout, /^ {2}pass/m);
});

test('conformance does not blame a server for workers that are not there', async (t) => {
  const { server, cli } = await startFleet(t, '[execution]\nworker_grace = "100ms"');
  const argv = ['conformance', server.address, '--execute', '--only', 'running'];
  const { exitCode, stdout } = await cli(argv);
  assert.equal(exitCode, 0, stdout);
  assert.match(
    stdout,
    /^ {2}n\/a .* \(no worker ran an action: UNAVAILABLE: no worker is connected/m,
  );
  assert.doesNotMatch(stdout, /^ {2}(pass|FAIL)/m);
});

test('conformance ends with 69 when there is no server', async (t) => {
  const { exitCode, stderr } = await runCli(['conformance', '127.0.0.1:1'], { folder: tempDir(t) });
  assert.equal(exitCode, 69, stderr);
  assert.match(stderr, /no capabilities from 127\.0\.0\.1:1/);
});

test('what is no gRPC server is told from a server that is down', async (t) => {
  const other = createServer((socket) => socket.end('220 mail.example.com ESMTP\r\n'));
  await once(other.listen(0, '127.0.0.1'), 'listening');
  t.after(() => other.close());
  const address = `127.0.0.1:${(other.address() as AddressInfo).port}`;
  const { exitCode, stderr } = await runCli(['conformance', address], { folder: tempDir(t) });
  assert.equal(exitCode, 69, stderr);
  assert.match(stderr, /is it gRPC without TLS\?$/m);
});

test('conformance ends with 69 when its time is over, after what it has found', async (t) => {
  const { server, cli } = await startFleet(t);
  const argv = ['conformance', server.address, '--timeout', '1ms', '--json'];
  const { exitCode, stdout, stderr } = await cli(argv);
  assert.equal(exitCode, 69, stderr);
  assert.match(stderr, /longer than --timeout 1ms: \d+ probes did not run/);
  assert.ok((JSON.parse(stdout) as { counts: { notRun: number } }).counts.notRun > 100);
});

for (const [flag, value, text] of [
  ['--compression', 'zstd', /Unknown argument: compression/i],
  ['--only', 'no-such', /no probe is called no-such; areas are capabilities, /],
  ['--seed', '-1', /--seed must be a whole number/],
  ['--timeout', 'soon', /--timeout soon is no time/],
  ['--platform', 'linux', /--platform linux is not NAME=VALUE/],
] as const) {
  test(`conformance ${flag} ${value} ends with 64, and says why`, async (t) => {
    const argv = ['conformance', '127.0.0.1:1', `${flag}=${value}`];
    const { exitCode, stderr } = await runCli(argv, { folder: tempDir(t) });
    assert.equal(exitCode, 64, stderr);
    assert.match(stderr, text);
  });
}
