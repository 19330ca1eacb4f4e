import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import { exitCodeMeanings } from '../../src/cli/exit-codes.ts';
import { runCli } from '../support/run-cli.ts';
import { tempDir } from '../support/temp-dir.ts';

const cli = (t: TestContext, ...argv: string[]) => runCli(argv, { folder: tempDir(t) });

for (const [argv, exitCode, message] of [
  [[], 64, /there is no command/],
  [['fly'], 64, /Unknown argument: fly/],
  [['run', '--fast', '--', 'true'], 64, /Unknown argument: fast/],
  [['pin'], 64, /Unknown argument: pin; did you mean ping\?/],
  [['--', 'true'], 64, /did you mean expbuild run -- …\?/],
  [['ping', '--count', '0'], 64, /--count must be a whole number from 1/],
  [['ping', '--count', 'many'], 64, /--count must be a whole number/],
  [['run', '--priority', 'high', '--', 'true'], 64, /--priority must be a whole number/],
  [['up', '--data', '/proc/x'], 71, /ENOENT: no such file or directory, mkdir '\/proc\/x'/],
  [['up', '--slots', '0'], 64, /--slots must be a whole number/],
  [['up', '--set', 'execution.backend=none'], 78, /use expbuild server/],
  [['run'], 64, /put it after "--"/],
  [['run', '--timeout', '5', '--', 'true'], 64, /--timeout 5 is not a duration/],
  [['run', '--platform', 'os', '--', 'true'], 64, /--platform os is not NAME=VALUE/],
  [['run', '--env', 'NOT_SET', '--', 'true'], 64, /--env NOT_SET names a variable/],
  [['run', '--env', '=x', '--', 'true'], 64, /no name before/],
  [
    ['download'],
    64,
    /something is missing: expbuild download <digest>\nexpbuild download --help tells/,
  ],
  [['download', 'x', '--kind', 'car'], 64, /one of "blob", "directory", "tree"/],
  [['ping', '--remote', 'https://h:1'], 78, /comes with a later version/],
  [['ping', '--digest-function', 'MURMUR3'], 78, /"MURMUR3" is unknown/],
  [['ping', '--config', '/no/such/file'], 78, /cannot read the configuration/],
] as const) {
  test(`expbuild ${argv.join(' ')} ends with ${exitCode}, and says why`, async (t) => {
    const ended = await cli(t, ...argv);
    assert.equal(ended.exitCode, exitCode);
    assert.match(ended.stderr, message);
    assert.doesNotMatch(ended.stderr, /\n {4}at /, 'a stack trace is for --verbose');
    assert.equal(ended.stdout, '');
  });
}

test('a server that is not there is told as such, with an exit code of its own', async (t) => {
  const { exitCode, stderr } = await cli(t, 'ping', '--remote', '127.0.0.1:1');
  assert.equal(exitCode, 69);
  assert.equal(stderr, 'error: no answer from 127.0.0.1:1: connect ECONNREFUSED 127.0.0.1:1\n');
});

test('what an in-process worker is told wrong ends up before there is a server', async (t) => {
  const folder = tempDir(t);
  const environment = { EXPBUILD_SLOTS: 'x' };
  const { exitCode, stderr } = await runCli(['up'], { folder, environment });
  assert.equal(exitCode, 78);
  assert.match(stderr, /variable EXPBUILD_SLOTS/);
  assert.deepEqual(readdirSync(folder), []);
});

test('--verbose tells where an error comes from', async (t) => {
  const { stderr } = await cli(t, 'run', '--verbose');
  assert.match(stderr, /\n {4}at /);
});

test('--help lists the commands and every exit code', async (t) => {
  const { exitCode, stdout } = await cli(t, '--help');
  assert.equal(exitCode, 0);
  for (const code of exitCodeMeanings.keys()) assert.match(stdout, new RegExp(`^ +${code}  `, 'm'));
  assert.doesNotMatch(stdout, /launcher/);
});

test('the README lists the same exit codes', () => {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
  const rows = readme.matchAll(/^\| (\d+) +\| (.+?) +\|$/gm);
  const listed = rows.map(([, code, meaning]) => [Number(code), meaning] as const);
  assert.deepEqual(new Map(listed), exitCodeMeanings);
});

for (const command of [
  'up',
  'server',
  'worker',
  'run',
  'upload',
  'download',
  'ping',
  'capabilities',
  'prepare-action',
  'execute',
  'find-missing',
  'get-action-result',
]) {
  test(`${command} --help has examples`, async (t) => {
    const { exitCode, stdout } = await cli(t, command, '--help');
    assert.equal(exitCode, 0);
    assert.match(stdout, new RegExp(`Examples:\n +expbuild ${command} `));
  });
}

test('a variable that is nearly one of ours is warned of', async (t) => {
  const environment = { EXPBUILD_REMOTE_ENDPOINTS: 'a:1' };
  const { stderr } = await runCli(['run'], { folder: tempDir(t), environment });
  assert.match(
    stderr,
    /EXPBUILD_REMOTE_ENDPOINTS is not known; did you mean EXPBUILD_REMOTE_ENDPOINT\?/,
  );
});

test('shells learn the commands', async (t) => {
  const script = await cli(t, 'completion');
  assert.match(script.stdout, /expbuild/);
});

test('prepare-action --dry-run needs no server, and always gives the same digest', async (t) => {
  const argv = [
    'prepare-action',
    '--dry-run',
    '--env',
    'B=2',
    '--env',
    'A=1',
    '--',
    'sh',
    '-c',
    'x',
  ];
  const one = await cli(t, ...argv);
  assert.match(one.stdout, /^[0-9a-f]{64}\/\d+\n$/);
  assert.equal((await cli(t, ...argv)).stdout, one.stdout);
  const json = await cli(t, argv[0] as string, '--json', ...argv.slice(1));
  assert.equal((JSON.parse(json.stdout) as { action: string }).action, one.stdout.trim());
});
