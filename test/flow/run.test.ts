import assert from 'node:assert/strict';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { allDigestFunctions } from '../../src/digest/digest-functions.ts';
import { appears } from '../support/appears.ts';
import { FakeTerminal } from '../support/fake-terminal.ts';
import { startFleet } from '../support/fleet.ts';
import { inReverse } from '../support/in-reverse.ts';
import { runCli } from '../support/run-cli.ts';
import { tempDir } from '../support/temp-dir.ts';

test('an action runs on a worker, and its outputs come back as they were made', async (t) => {
  const { cli, worker, at } = await startFleet(t);
  await worker('one');
  mkdirSync(at('in/sub'), { recursive: true });
  writeFileSync(at('in/sub/data'), 'some data');
  writeFileSync(at('in/tool'), '#!/bin/sh\ncat sub/data\necho beside >&2\n');
  chmodSync(at('in/tool'), 0o755);
  const script =
    './tool; cp tool copy; mkdir -p out/empty; echo x > "out/a ü"; ln -s copy link; ln -s ../x out/l';
  const outputs = ['copy', 'out/', 'link', 'absent'].flatMap((name) => ['--output-path', name]);
  const argv = ['run', '--input', at('in'), '--output', at('got'), ...outputs];
  const ended = await cli([...argv, '--', 'sh', '-c', script]);
  assert.equal(ended.exitCode, 0, ended.stderr);
  assert.equal(ended.stdout, 'some data');
  assert.match(ended.stderr, /^beside$/m);
  assert.match(ended.stderr, /^executing$/m);
  assert.match(ended.stderr, /exit code 0, executed on one, 2 output files, in /);
  assert.notEqual(lstatSync(at('got/copy')).mode & 0o100, 0);
  assert.equal(readFileSync(at('got/out/a ü'), 'utf8'), 'x\n');
  assert.equal(readlinkSync(at('got/link')), 'copy');
  assert.equal(readlinkSync(at('got/out/l')), '../x');
  assert.deepEqual(readdirSync(at('got/out/empty')), []);
});

test('the second run is answered from the cache, unless that is not wanted', async (t) => {
  const { cli, worker, at } = await startFleet(t);
  await worker('one');
  writeFileSync(at('count'), '');
  const argv = ['--output-path', 'out', '--', 'sh', '-c', `echo x >> ${at('count')}; echo y > out`];
  const runs = () => readFileSync(at('count'), 'utf8').length / 2;
  const first = await cli(['run', '--output', at('1'), ...argv]);
  assert.equal(first.exitCode, 0, first.stderr);
  const second = await cli(['run', '--output', at('2'), ...argv]);
  assert.match(second.stderr, /exit code 0, stored result, 1 output file, in /);
  assert.equal(runs(), 1);
  assert.equal(readFileSync(at('2/out'), 'utf8'), 'y\n');
  await cli(['run', '--output', at('3'), '--no-cache', ...argv]);
  assert.equal(runs(), 2);

  const { stdout } = await cli(['prepare-action', ...argv]);
  const result = await cli(['get-action-result', stdout.trim(), '--json']);
  const shown = JSON.parse(result.stdout) as { worker: string; outputFiles: { path: string }[] };
  assert.equal(shown.worker, 'one');
  assert.deepEqual(
    shown.outputFiles.map((file) => file.path),
    ['out'],
  );
});

test('the exit code is that of the action, whose failure is not cached', async (t) => {
  const { cli, worker } = await startFleet(t);
  await worker('one');
  const argv = ['run', '--', 'sh', '-c', 'echo so; exit 3'];
  for (const attempt of [1, 2]) {
    const ended = await cli(argv);
    assert.equal(ended.exitCode, 3, `attempt ${attempt}: ${ended.stderr}`);
    assert.equal(ended.stdout, 'so\n');
    assert.match(ended.stderr, /exit code 3, executed on one/);
  }
});

test('large output is written through whole', async (t) => {
  const { cli, worker } = await startFleet(t);
  await worker('one');
  const { stdout } = await cli(['run', '--', 'sh', '-c', 'head -c 3000000 /dev/zero | tr "\\0" x']);
  assert.equal(stdout.length, 3_000_000);
});

test('environment, working directory and empty input root are as asked for', async (t) => {
  const { cli, worker, at } = await startFleet(t);
  await worker('one');
  mkdirSync(at('in/deep'), { recursive: true });
  const argv = ['run', '--input', at('in'), '--working-directory', 'deep', '--env', 'A=1 2'];
  const { stdout } = await cli([...argv, '--', 'sh', '-c', 'echo "$A"; basename "$PWD"; ls']);
  assert.equal(stdout, '1 2\ndeep\n');
});

for (const [what, argv, message] of [
  ['takes too long', ['--timeout', '300ms', '--', 'sleep', '60'], /execution timeout exceeded/],
  ['cannot be found', ['--', 'no-such-program'], /no-such-program/],
] as const) {
  test(`a command that ${what} ends with 75`, async (t) => {
    const { cli, worker } = await startFleet(t);
    await worker('one');
    const ended = await cli(['run', ...argv]);
    assert.equal(ended.exitCode, 75, ended.stderr);
    assert.match(ended.stderr, message);
  });
}

test('EXE-08: an action that no worker can run says so after a grace time', async (t) => {
  const { cli, worker } = await startFleet(t, '[execution]\nworker_grace = "50ms"');
  await worker('one', '[platform]\npool = "a"');
  const ended = await cli(['run', '--platform', 'pool=b', '--', 'true']);
  assert.match(ended.stderr, /^queued: no worker has pool=b; workers offer pool=a$/m);
  assert.equal(ended.exitCode, 75);
  assert.match(ended.stderr, /pool/);
});

test('who is not taken for now is told why, once, while it is asked again', async (t) => {
  const { cli, worker } = await startFleet(t, '[execution]\nqueue_max = 1');
  const [first, second] = [new FakeTerminal(), new FakeTerminal()];
  const run = (terminal: FakeTerminal, text: string) =>
    cli(['run', '--', 'echo', text], { terminal });
  const queued = run(first, 'first');
  await first.shown(/queued/);
  const postponed = run(second, 'second');
  await second.shown(/^not taken yet: 1 actions are queued, which is the limit; .* ms$/m);
  await worker('one');
  assert.equal((await queued).exitCode, 0);
  const { exitCode, stderr } = await postponed;
  assert.equal(exitCode, 0, stderr);
  assert.equal(stderr.match(/not taken yet/g)?.length, 1, stderr);
});

test('actions go to the worker that has what they ask for', async (t) => {
  const { cli, worker } = await startFleet(t);
  await Promise.all(['a', 'b'].map((pool) => worker(pool, `[platform]\npool = "${pool}"`)));
  for (const pool of ['b', 'a', 'b']) {
    const { stderr } = await cli(['run', '--no-cache', '--platform', `pool=${pool}`, '--', 'true']);
    assert.match(stderr, new RegExp(`executed on ${pool}`));
  }
});

test('two workers share the work', async (t) => {
  const { cli, worker, at } = await startFleet(t);
  await Promise.all([worker('one', 'slots = 1'), worker('two', 'slots = 1')]);
  // Each waits for the other: neither ends unless both run at once.
  const meet = (mine: string, other: string) =>
    `touch ${at(mine)}; until [ -e ${at(other)} ]; do sleep 0.01; done`;
  const ended = await Promise.all([
    cli(['run', '--timeout', '20s', '--', 'sh', '-c', meet('x', 'y')]),
    cli(['run', '--timeout', '20s', '--', 'sh', '-c', meet('y', 'x')]),
  ]);
  assert.deepEqual(
    ended.map(({ exitCode }) => exitCode),
    [0, 0],
  );
  const workers = ended.map(({ stderr }) => /executed on (\w+)/.exec(stderr)?.[1]);
  assert.deepEqual(new Set(workers), new Set(['one', 'two']));
});

test('CLI-13: leaving ends the command on the worker', async (t) => {
  const { cli, worker, at } = await startFleet(t);
  const one = await worker('one');
  const leaving = new AbortController();
  const terminal = new FakeTerminal();
  mkdirSync(at('seen'));
  const started = appears(at('seen'), 'pid');
  const script = `echo $$ > ${at('seen')}/new; mv ${at('seen')}/new ${at('seen')}/pid; exec sleep 60`;
  const running = cli(['run', '--', 'sh', '-c', script], { leaving: leaving.signal, terminal });
  await started;
  await terminal.shown(/^executing$/m);
  leaving.abort();
  const ended = await running;
  assert.equal(ended.exitCode, 130);
  assert.match(ended.stderr, /^interrupted: /m);
  await one.stop();
  const pid = Number(readFileSync(at('seen/pid'), 'utf8'));
  assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
});

test('an action prepared before is executed by its digest', async (t) => {
  const { cli, worker, at } = await startFleet(t);
  await worker('one');
  const prepared = await cli([
    'prepare-action',
    '--output-path',
    'o',
    '--',
    'sh',
    '-c',
    'echo 1 > o',
  ]);
  const argv = ['execute', '--action', prepared.stdout.trim(), '--output', at('got')];
  const ended = await cli(argv);
  assert.equal(ended.exitCode, 0, ended.stderr);
  assert.equal(readFileSync(at('got/o'), 'utf8'), '1\n');
  const absent = await cli(['execute', '--action', `${'0'.repeat(64)}/7`]);
  assert.equal(absent.exitCode, 75);
  assert.match(absent.stderr, /not in the store/);
});

test('an action that the server refuses to run ends with 75', async (t) => {
  const { cli } = await startFleet(t);
  const ended = await cli(['run', '--timeout', '48h', '--', 'true']);
  assert.equal(ended.exitCode, 75);
  assert.match(ended.stderr, /^error: action \S+ cannot run: .*timeout/m);
});

test('an output directory comes down by the digest of its tree', async (t) => {
  const { cli, worker, at } = await startFleet(t);
  await worker('one');
  const argv = ['run', '--json', '--output-path', 'd', '--output', at('got'), '--', 'sh', '-c'];
  const { stdout } = await cli([...argv, 'mkdir -p d/e; echo x > d/e/f']);
  const shown = JSON.parse(stdout) as { outputDirectories: { treeDigest: string }[] };
  const digest = shown.outputDirectories[0]?.treeDigest ?? '';
  const ended = await cli(['download', digest, '--kind', 'tree', '-o', at('copy')]);
  assert.equal(ended.exitCode, 0, ended.stderr);
  assert.equal(readFileSync(at('copy/e/f'), 'utf8'), 'x\n');
});

test('with --json the answer is one object', async (t) => {
  const { cli, worker } = await startFleet(t);
  await worker('one');
  const { stdout } = await cli(['run', '--json', '--', 'echo', 'hello']);
  const shown = JSON.parse(stdout) as { exitCode: number; isCached: boolean; stdoutDigest: string };
  assert.equal(shown.exitCode, 0);
  assert.equal(shown.isCached, false);
  assert.match(shown.stdoutDigest, /\/6$/);
});

test('DIG-10, DIG-12: every digest function works all the way, beside the others', async (t) => {
  const names = allDigestFunctions.map(({ name }) => name);
  const { cli, worker, at } = await startFleet(t, `[digest]\nfunctions = ${JSON.stringify(names)}`);
  await worker('one');
  for (const name of names) {
    const output = ['--output', at(name), '--output-path', 'out'];
    const script = 'echo hello; seq 1 20000 > out';
    const argv = ['run', '--digest-function', name, ...output, '--', 'sh', '-c', script];
    const first = await cli(argv);
    assert.equal(first.stdout, 'hello\n', first.stderr);
    assert.match(first.stderr, /executed on one/, `${name} shares no result with another`);
    assert.match((await cli(argv)).stderr, /stored result/);
    assert.match(readFileSync(at(`${name}/out`), 'utf8'), /\n20000\n$/);
  }
});

for (const backend of ['direct', 'up']) {
  test(`expbuild ${backend === 'up' ? 'up' : 'server with backend "direct"'} runs actions by itself`, async (context) => {
    const t = inReverse(context);
    const folder = tempDir(t);
    const leaving = new AbortController();
    const terminal = new FakeTerminal();
    const argv =
      backend === 'up'
        ? ['up', '--data', path.join(folder, 'data'), '--slots', '1']
        : ['server', '--set', 'execution.backend=direct'];
    const options = { folder, leaving: leaving.signal, terminal };
    const serving = runCli([...argv, '--address', '127.0.0.1:0'], options);
    const pattern = /127\.0\.0\.1:\d+/;
    await terminal.shown(pattern);
    const shown = terminal.stdout + terminal.stderr;
    const [address = ''] = pattern.exec(shown) ?? [];
    if (backend === 'up') {
      assert.match(shown, new RegExp(`^build --remote_executor=grpc://${address}$`, 'm'));
      assert.match(shown, new RegExp(`data +${path.join(folder, 'data')}`));
      assert.match(shown, /executor +host/);
    }
    t.after(() => serving);
    t.after(() => leaving.abort());
    const ended = await runCli(['run', '--remote', address, '--', 'echo', 'hi'], { folder });
    assert.equal(ended.stdout, 'hi\n', ended.stderr);
    leaving.abort();
    assert.equal((await serving).exitCode, 0);
  });
}
