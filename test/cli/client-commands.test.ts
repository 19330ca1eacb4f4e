import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { blobOf } from '../support/blob-of.ts';
import { FakeTerminal } from '../support/fake-terminal.ts';
import { inReverse } from '../support/in-reverse.ts';
import { type CliOptions, runCli } from '../support/run-cli.ts';
import { startTestServer } from '../support/start-expbuild-server.ts';
import { tempDir } from '../support/temp-dir.ts';

async function setUp(context: TestContext) {
  const t = inReverse(context);
  const folder = tempDir(t);
  const toml = '[cas_storage]\ntype = "memory"\n[action_cache]\ntype = "memory"';
  const { address } = await startTestServer(t, { folder, toml });
  const environment = { EXPBUILD_REMOTE_ENDPOINT: `grpc://${address}` };
  const cli = (argv: readonly string[], options: Partial<CliOptions> = {}) =>
    runCli(argv, { folder, environment, ...options });
  return { folder, address, cli, at: (name: string) => path.join(folder, name) };
}

test('ping tells every round trip, and min, median and max', async (t) => {
  const { cli, address } = await setUp(t);
  const { exitCode, stdout } = await cli(['ping', '--count', '3']);
  assert.equal(exitCode, 0);
  const lines = stdout.trim().split('\n');
  assert.equal(lines.length, 4);
  assert.match(lines[0] ?? '', new RegExp(`^${address} 1/3 \\d+\\.\\d ms$`));
  assert.match(lines[3] ?? '', /^min\/median\/max [\d.]+\/[\d.]+\/[\d.]+ ms$/);
  const json = JSON.parse((await cli(['ping', '--json'])).stdout) as { timesMs: number[] };
  assert.equal(json.timesMs.length, 4);
});

test('capabilities are shown to people and to scripts', async (t) => {
  const { cli } = await setUp(t);
  const { stdout } = await cli(['capabilities']);
  assert.match(stdout, /^digestFunctions +SHA256, BLAKE3$/m);
  assert.match(stdout, /^chunkingFunctions +FAST_CDC_2020, REP_MAX_CDC$/m);
  assert.match(stdout, /^maxBatchTotalSizeBytes +\d+ \(3\.5 MiB\)$/m);
  const shown = JSON.parse((await cli(['capabilities', '--json'])).stdout) as object;
  assert.deepEqual((shown as { apiVersions: string[] }).apiVersions, ['2.0', '2.12']);
});

test('an instance that does not exist is told as such', async (t) => {
  const { cli } = await setUp(t);
  const { exitCode, stderr } = await cli(['ping', '--instance-name', 'nope']);
  assert.equal(exitCode, 65);
  assert.match(stderr, /^error: 127[^ ]+: this server has no instance "nope"/);
  assert.doesNotMatch(stderr, /no answer/);
});

test('a file goes up, is there, and comes down again', async (t) => {
  const { cli, at } = await setUp(t);
  const { digest } = blobOf('hello');
  writeFileSync(at('hello.txt'), 'hello');
  const before = await cli(['find-missing', `${digest}`]);
  assert.equal(before.stdout, `${digest}\n`);
  const first = await cli(['upload', at('hello.txt')]);
  assert.equal(first.stdout, `${digest}  ${at('hello.txt')}\n`);
  assert.match(first.stderr, /1 blob of 5 B; sent 1 of 5 B/);
  const second = await cli(['upload', at('hello.txt')]);
  assert.match(second.stderr, /sent 0 of 0 B/);
  assert.equal((await cli(['find-missing', `${digest}`])).stdout, '');
  assert.equal((await cli(['download', `${digest}`])).stdout, 'hello');
  await cli(['download', `${digest}`, '-o', at('copy'), '--executable']);
  assert.equal(readFileSync(at('copy'), 'utf8'), 'hello');
  assert.notEqual(lstatSync(at('copy')).mode & 0o100, 0);
});

for (const algorithm of ['SHA256', 'BLAKE3']) {
  test(`a folder goes up and comes down as it was, by ${algorithm}`, async (t) => {
    const { cli, at } = await setUp(t);
    mkdirSync(at('tree/sub dir/empty'), { recursive: true });
    writeFileSync(at('tree/sub dir/ünï'), 'x'.repeat(300_000));
    writeFileSync(at('tree/tool'), '#!');
    chmodSync(at('tree/tool'), 0o755);
    symlinkSync('sub dir/ünï', at('tree/link'));
    const flag = ['--digest-function', algorithm];
    const up = await cli(['upload', at('tree'), '--json', ...flag]);
    const { uploaded } = JSON.parse(up.stdout) as { uploaded: { digest: string }[] };
    const digest = uploaded[0]?.digest ?? '';
    const down = ['download', digest, '--kind', 'directory', '-o', at('copy'), ...flag];
    const { exitCode, stderr } = await cli(down);
    assert.equal(exitCode, 0, stderr);
    assert.equal(readFileSync(at('copy/sub dir/ünï'), 'utf8').length, 300_000);
    assert.equal(readlinkSync(at('copy/link')), 'sub dir/ünï');
    assert.notEqual(lstatSync(at('copy/tool')).mode & 0o100, 0);
    assert.ok(existsSync(at('copy/sub dir/empty')));
  });
}

test('who watches an upload sees how far it is', async (t) => {
  const { cli, at } = await setUp(t);
  writeFileSync(at('big'), 'x'.repeat(1_000_000));
  const terminal = new FakeTerminal(true);
  await cli(['upload', at('big')], { terminal });
  const [hashing = '', uploading = ''] = terminal.progressLines;
  assert.equal(hashing, `hashing ${at('big')}`);
  assert.match(
    uploading,
    /^uploading \[#+ *\] 0\/1, .+ of 976\.6 KiB/,
    'before the first blob is there',
  );
});

for (const [what, argv, exitCode, message] of [
  ['a file that is not there', ['upload', '/no/such'], 66, /\/no\/such does not exist/],
  ['a blob that is not there', ['download', `${blobOf('?').digest}`], 66, /error: /],
  ['no digest', ['download', 'abc'], 64, /"abc" is not a digest/],
  [
    'no place for a folder',
    ['download', `${blobOf('').digest}`, '--kind', 'tree'],
    64,
    /-o FOLDER/,
  ],
  ['an action without result', ['get-action-result', `${blobOf('?').digest}`], 66, /no result of/],
] as const) {
  test(`${what} ends with ${exitCode}`, async (t) => {
    const { cli } = await setUp(t);
    const ended = await cli(argv);
    assert.equal(ended.exitCode, exitCode, ended.stderr);
    assert.match(ended.stderr, message);
  });
}

test('a download makes the folder it goes to, and a command gets inputs through a link', async (t) => {
  const { cli, at } = await setUp(t);
  mkdirSync(at('src'));
  writeFileSync(at('src/a'), 'a');
  symlinkSync('src', at('link'));
  const up = await cli(['upload', at('src/a')]);
  const [digest = ''] = up.stdout.split(' ');
  assert.equal((await cli(['download', digest, '-o', at('x/y/a')])).exitCode, 0);
  assert.equal(readFileSync(at('x/y/a'), 'utf8'), 'a');
  const prepare = (input: string) =>
    cli(['prepare-action', '--dry-run', '--input', at(input), '--', 'true']);
  assert.equal((await prepare('link')).stdout, (await prepare('src')).stdout);
  const missing = await prepare('none');
  assert.equal(missing.exitCode, 66);
  assert.match(missing.stderr, /^error: the input folder .*none does not exist$/m);
});
