import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import path from 'node:path';
import { describe, it } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { executorBench, isAlive, lineOf, untilDead } from '../support/executor-bench.ts';
import { launcherCommand } from '../support/host-executor.ts';
import { tempDir } from '../support/temp-dir.ts';

describe('a host executor', { timeout: 240_000 }, () => {
  it('runs a command, with its outputs apart and its exit code', async (t) => {
    const { run, stdout, stderr } = await executorBench(t);
    const outcome = await run(['sh', '-c', 'printf out; printf err >&2; exit 3']);
    assert.equal(outcome.kind === 'exited' && outcome.exitCode, 3);
    assert.equal(stdout(), 'out');
    assert.equal(stderr(), 'err');
    assert.ok(outcome.wallTimeMs > 0 && outcome.wallTimeMs < 10_000);
  });

  it('ACT-10, ACT-13: gives it its own environment and a PATH, and nothing else', async (t) => {
    const { run, stdout } = await executorBench(t);
    await run(['env'], { environment: { B: 'b c', A: '' } });
    assert.deepEqual(stdout().trim().split('\n').toSorted(), [
      'A=',
      'B=b c',
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'TMPDIR=/its/own',
    ]);
    await run(['/usr/bin/env'], { environment: { PATH: '/nowhere', TMPDIR: '/elsewhere' } });
    assert.deepEqual(stdout().trim().split('\n').toSorted(), [
      'PATH=/nowhere',
      'TMPDIR=/elsewhere',
    ]);
  });

  it('WRK-08, WRK-21, WRK-23, WK-17: passes bytes as they are, no input, 022 and three descriptors', async (t) => {
    const bash = [
      '/bin/bash',
      '--norc',
      '-c',
      'exec 77</dev/null 9</dev/null; exec "$0" "$@"',
    ] as const;
    if (!existsSync(bash[0])) return t.skip('needs bash to leave descriptors open');
    const {
      run,
      stdout,
      inputRoot: folder,
    } = await executorBench(t, {
      launcherCommand: [...bash, ...launcherCommand],
    });
    await run(['cat']);
    assert.equal(stdout(), '');
    await run(['printf', '%s|', 'a b; $(x)', 'ü\u2028"\n']);
    assert.equal(stdout(), 'a b; $(x)|ü\u2028"\n|');
    await run([
      'sh',
      '-c',
      'umask; pwd; ls /proc/self/fd | tr "\\n" " "; grep Sig[BI] /proc/self/status',
    ]);
    const [umask, cwd, descriptors, blocked, ignored] = stdout().trim().split('\n');
    assert.deepEqual([umask, cwd], ['0022', folder]);
    // 3 is the folder that ls reads.
    assert.match(`${descriptors}`, /^0 1 2 3 SigBlk:\s+0+$/);
    assert.match(`${blocked}`, /^SigIgn:\s+0+$/);
    assert.equal(ignored, undefined);
    return undefined;
  });

  it('WK-18: gives it the limits that are told, whatever the worker has', async (t) => {
    const { run, stdout } = await executorBench(t, {
      resourceLimits: ['--nofile=1000:2000', '--core=0', '--nproc=30000'],
    });
    await run(['bash', '-c', 'ulimit -Sn; ulimit -Hn; ulimit -Hc; ulimit -u']);
    assert.equal(stdout(), '1000\n2000\n0\n30000\n');
  });

  it('WK-18, WK-26: a machine without memory left ends commands first, and they cannot help it', async (t) => {
    const { run, stdout } = await executorBench(t);
    await run(['sh', '-c', 'cat /proc/self/oom_score_adj; nice']);
    assert.equal(stdout(), `500\n${getPriority()}\n`);
    if (process.getuid?.() !== 0) return t.skip('the rest needs root to run commands as others');
    const other = await executorBench(t, { owner: { uid: 59_001, gid: 59_001 } });
    const lower = '(echo 0 > /proc/self/oom_score_adj) 2>/dev/null; cat /proc/self/oom_score_adj';
    await other.run(['sh', '-c', lower]);
    assert.equal(other.stdout(), '500\n');
    return undefined;
  });

  it('WK-12: says that a file grew beyond its limit, sparse or not', async (t) => {
    const { run, stderr } = await executorBench(t, { fileBytesMax: 1_000_000 });
    for (const script of [
      'head -c 2000000 /dev/zero > large; exit $?',
      'exec dd if=/dev/zero of=large bs=2000000 count=2',
      'truncate -s 1P large; exit $?',
    ]) {
      const outcome = await run(['sh', '-c', script]);
      assert.equal(outcome.kind, 'resource-limit', `${script}: ${stderr()}`);
      if (outcome.kind !== 'resource-limit') return;
      assert.equal(outcome.exitCode, 153);
      assert.match(outcome.message, /larger than its limit of 1000000 bytes \(executor.file_max/);
    }
    assert.equal((await run(['sh', '-c', 'head -c 1000000 /dev/zero > fits'])).kind, 'exited');
  });

  it('ACT-09: finds a program by absolute path, from the working directory, and in PATH', async (t) => {
    const { run, stdout, inputRoot: folder } = await executorBench(t);
    writeFileSync(path.join(folder, 'tool'), '#!/bin/sh\necho "tool $1"\n', { mode: 0o755 });
    await run([path.join(folder, 'tool'), '1']);
    assert.equal(stdout(), 'tool 1\n');
    await run(['./tool', '2']);
    assert.equal(stdout(), 'tool 2\n');
    await run(['tool', '3'], { environment: { PATH: `/nowhere:${folder}:/usr/bin` } });
    assert.equal(stdout(), 'tool 3\n');
  });

  for (const [what, argv0, why] of [
    ['an unknown name', 'no-such-tool', /"no-such-tool" in PATH .*no such file/],
    ['an unknown file', './nope', /"\.\/nope": there is no such file/],
    ['a directory', '/tmp', /"\/tmp": \/tmp is a directory/],
    ['a file that is not executable', '/etc/passwd', /\/etc\/passwd is not executable/],
    ['an empty name', '', /cannot run ""/],
    ['a script with Windows line ends', './windows', /cannot run .*windows: .*ENOENT/],
    ['a script without its interpreter', './script', /cannot run .*script: .*ENOENT/],
    ['a name with NUL', 'a\0b', /holds a NUL/],
  ] as const) {
    it(`WK-21, ACT-11: refuses ${what}`, async (t) => {
      const { run, inputRoot: folder } = await executorBench(t);
      writeFileSync(path.join(folder, 'script'), '#!/no/such/shell\n', { mode: 0o755 });
      writeFileSync(path.join(folder, 'windows'), '#!/bin/sh\r\ntrue\r\n', { mode: 0o755 });
      await assert.rejects(run([argv0]), { code: Code.INVALID_ARGUMENT, message: why });
      assert.equal((await run(['true'])).kind, 'exited');
    });
  }

  it('WK-21: a program for another machine fails as a command, and not as a worker', async (t) => {
    const { run, inputRoot: folder, stderr } = await executorBench(t);
    const program = readFileSync('/bin/true');
    // e_machine: 243 is RISC-V.
    program.writeUInt16LE(243, 18);
    writeFileSync(path.join(folder, 'foreign'), program, { mode: 0o755 });
    const outcome = await run(['./foreign']);
    assert.ok(outcome.kind === 'exited' && [2, 126, 127].includes(outcome.exitCode), stderr());
    assert.match(stderr(), /foreign/);
  });

  it('WK-03: ends a command a second after it began, or a millisecond, if that is its timeout', async (t) => {
    const { run, stdout } = await executorBench(t, { graceMs: 50 });
    for (const timeoutMs of [1, 1_000]) {
      const outcome = await run(['sh', '-c', 'echo said; exec sleep 1000'], { timeoutMs });
      assert.equal(outcome.kind, 'timed-out');
      assert.ok(outcome.wallTimeMs >= timeoutMs - 1, String(outcome.wallTimeMs));
      assert.ok(outcome.wallTimeMs < timeoutMs + 5_000, String(outcome.wallTimeMs));
    }
    assert.equal(stdout(), 'said\n');
  });

  it('HI-15, N8: refuses a NUL in an argument, and in a variable', async (t) => {
    const { run } = await executorBench(t);
    const invalid = { code: Code.INVALID_ARGUMENT, message: /NUL/ };
    await assert.rejects(run(['true', 'a\0b']), invalid);
    await assert.rejects(run(['true'], { environment: { A: 'a\0b' } }), invalid);
    await assert.rejects(run(['true'], { environment: { 'A\0': 'b' } }), invalid);
    assert.equal((await run(['true'])).kind, 'exited');
  });

  it('HI-13, HI-16, HI-17, N8: refuses arguments that are too large, and a working directory that is not there', async (t) => {
    const { run } = await executorBench(t);
    const large = run(['true', 'x'.repeat(200_000)]);
    await assert.rejects(large, { code: Code.INVALID_ARGUMENT, message: /too large/ });
    const lost = run(['true'], { workingDirectory: '/no/such/place' });
    await assert.rejects(lost, { code: Code.INVALID_ARGUMENT, message: /\/no\/such\/place/ });
  });

  it('RES-23: tells a signal that ended the command', async (t) => {
    const { run } = await executorBench(t);
    const outcome = await run(['sh', '-c', 'kill -9 $$']);
    assert.equal(outcome.kind === 'killed' && outcome.signal, 'SIGKILL');
  });

  it('WRK-07: ends a command that takes too long, its children too, and keeps its output', async (t) => {
    const { run, stdout } = await executorBench(t, { graceMs: 50 });
    const script = 'echo begun; trap "" TERM; sleep 100 & echo $!; wait; sleep 100';
    const outcome = await run(['sh', '-c', script], { timeoutMs: 200 });
    assert.equal(outcome.kind, 'timed-out');
    const [begun, child = ''] = stdout().trim().split('\n');
    assert.equal(begun, 'begun');
    assert.ok(!isAlive(child));
  });

  it('WK-03, N1: a timeout of 60 days does not fire at once', async (t) => {
    const { run } = await executorBench(t);
    const outcome = await run(['sleep', '0.05'], { timeoutMs: 60 * 24 * 3600 * 1000 });
    assert.equal(outcome.kind, 'exited');
  });

  it('WRK-10, RES-34: ends what the command left running, without waiting for it', async (t) => {
    const { run, stdout } = await executorBench(t);
    const outcome = await run(['sh', '-c', 'sleep 1000 & echo $!']);
    assert.equal(outcome.kind, 'exited');
    assert.ok(!isAlive(stdout().trim()));
  });

  it('WRK-10: ends what made a process group of its own, as timeout does', async (t) => {
    const { run, stdout } = await executorBench(t, { graceMs: 50 });
    const left = await run(['sh', '-c', 'timeout 1000 sleep 1000 & echo $!']);
    assert.equal(left.kind, 'exited');
    assert.ok(!isAlive(stdout().trim()));
    const script = `timeout 1000 sh -c 'trap "" TERM; echo $$; sleep 100; sleep 100'; true`;
    const late = await run(['sh', '-c', script], { timeoutMs: 200 });
    assert.equal(late.kind, 'timed-out');
    assert.match(stdout(), /^\d+\n/);
    assert.ok(!isAlive(stdout().trim()));
  });

  it('OPS-06, WRK-10: ends what left the session of the command', async (t) => {
    const { run, inputRoot: folder, stdout } = await executorBench(t, { graceMs: 50 });
    const environment = { TMPDIR: `${folder}/tmp` };
    const quiet = '>/dev/null 2>&1 </dev/null';
    const away = `setsid sh -c 'echo $$ > id; cd /; exec sleep 1000' ${quiet} & `;
    const named = await run(['sh', '-c', `${away} while [ ! -s id ]; do :; done; cat id`], {
      environment: { ...environment, PWD: folder },
    });
    assert.equal(named.kind, 'exited');
    assert.ok(!isAlive(stdout().trim()));
    const speaking = `env -i /usr/bin/setsid sh -c 'echo $$; trap "" TERM; sleep 100; sleep 100' & sleep 1000`;
    const late = await run(['sh', '-c', speaking], { environment, timeoutMs: 200 });
    assert.equal(late.kind, 'timed-out');
    assert.match(stdout(), /^\d+\n/);
    assert.ok(!isAlive(stdout().trim()));
  });

  it('fails with CANCELLED once the cancelled command is gone', async (t) => {
    const { run, inputRoot: folder } = await executorBench(t);
    const stop = new AbortController();
    const running = run(['sh', '-c', 'echo $$ > id; exec sleep 1000'], {}, stop.signal);
    const id = await lineOf(path.join(folder, 'id'));
    stop.abort();
    await assert.rejects(running, { code: Code.CANCELLED });
    assert.ok(!isAlive(id));
    assert.equal((await run(['true'])).kind, 'exited');
  });

  it('WK-14, WRK-09: stops a command that writes more than it may, and cuts what it wrote', async (t) => {
    const { run, stderr } = await executorBench(t, { outputBytesMax: 1_000 });
    const endless = await run(['sh', '-c', 'yes >&2']);
    assert.match(endless.kind === 'output-limit' ? endless.message : '', /standard error .* 1000/);
    assert.equal(stderr().length, 1_000);
    const short = await run(['sh', '-c', 'printf %2000d 1']);
    assert.equal(short.kind, 'output-limit');
    assert.equal((await run(['sh', '-c', 'printf %1000d 1'])).kind, 'exited');
  });

  it('measures CPU time and memory of the command and its children', async (t) => {
    const { run } = await executorBench(t);
    const script =
      'x=$(head -c 30000000 /dev/zero | tr "\\0" a); i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done';
    const { usage } = await run(['sh', '-c', script]);
    assert.ok((usage.userTimeMs ?? 0) + (usage.systemTimeMs ?? 0) > 20);
    assert.ok((usage.maxResidentBytes ?? 0) > 25_000_000);
    const idle = await run(['sleep', '0.05']);
    assert.ok((idle.usage.userTimeMs ?? Number.NaN) <= 20);
  });

  it('N5: starts programs that were written a moment before', async (t) => {
    const { run, inputRoot: folder } = await executorBench(t);
    const sleep = readFileSync('/bin/true');
    for (let round = 0; round < 20; round++) {
      const file = path.join(folder, `tool-${round}`);
      writeFileSync(file, sleep, { mode: 0o755 });
      assert.equal((await run([file])).kind, 'exited');
    }
  });

  it('ends the command when its launcher is killed, and goes on with another', async (t) => {
    const { run, inputRoot: folder } = await executorBench(t);
    const running = run(['sh', '-c', 'echo $PPID > launcher; echo $$ > id; exec sleep 1000']);
    const id = await lineOf(path.join(folder, 'id'));
    process.kill(Number(await lineOf(path.join(folder, 'launcher'))), 'SIGKILL');
    await assert.rejects(running, { code: Code.INTERNAL });
    await untilDead(id);
    assert.equal((await run(['true'])).kind, 'exited');
  });

  for (const [how, timeoutMs] of [
    ['after its timeout', 3_000],
    ['when it is cancelled', 60_000],
  ] as const) {
    it(`WK-03: a launcher that stands still is killed ${how}, and the command with it`, async (t) => {
      const limits = { graceMs: 100, reportMsMax: 200 };
      const { run, inputRoot: folder } = await executorBench(t, limits);
      const cancelling = new AbortController();
      const script = 'kill -STOP $PPID; echo $$ > id; exec sleep 1000';
      const running = run(['sh', '-c', script], { timeoutMs }, cancelling.signal);
      const id = await lineOf(path.join(folder, 'id'));
      if (how === 'when it is cancelled') cancelling.abort();
      await assert.rejects(running, { code: Code.INTERNAL, message: /launcher/ });
      await untilDead(id);
      assert.equal((await run(['true'])).kind, 'exited');
    });
  }

  it('ends the command and the launcher when the worker is killed', async (t) => {
    const folder = tempDir(t);
    const [node, launcher] = launcherCommand;
    const script = `
      import { HostExecutor, defaultHostExecutorOptions } from ${JSON.stringify(path.resolve('src/executor/host-executor.ts'))};
      const executor = await HostExecutor.start({ ...defaultHostExecutorOptions, launcherCommand: ${JSON.stringify([node, launcher])} });
      await executor.run({ argv: ['sh', '-c', 'echo $PPID > launcher; echo $$ > id; trap "" TERM; while :; do sleep 1; done'], environment: {},
        workingDirectory: ${JSON.stringify(folder)}, folder: ${JSON.stringify(folder)}, stdoutPath: ${JSON.stringify(`${folder}/1`)}, stderrPath: ${JSON.stringify(`${folder}/2`)},
        temporary: '/tmp', timeoutMs: 100000 }, '', new AbortController().signal);`;
    const worker = spawn(node, ['--input-type=module', '-e', script], { stdio: 'inherit' });
    const exited = once(worker, 'exit');
    const id = await lineOf(path.join(folder, 'id'));
    const launcherId = await lineOf(path.join(folder, 'launcher'));
    worker.kill('SIGKILL');
    await exited;
    await untilDead(id);
    await untilDead(launcherId);
  });

  it('WK-25: a command of another user reads nothing of the worker, and cannot end it', async (t) => {
    if (process.getuid?.() !== 0) return t.skip('needs root to run commands as another user');
    const { run, stdout, folder } = await executorBench(t, {
      owner: { uid: 59_001, gid: 59_001 },
    });
    const secret = path.join(folder, 'secret');
    writeFileSync(secret, 'secret', { mode: 0o600 });
    const worker = process.pid;
    const tries = [`cat /proc/${worker}/environ`, `ls /proc/${worker}/fd`, `cat ${secret}`];
    const script = [...tries, `kill -0 ${worker}`, `kill -9 $PPID`, 'kill -9 1'];
    await run(['sh', '-c', script.map((each) => `${each} 2>/dev/null && echo done`).join('; ')]);
    assert.equal(stdout(), '');
    return undefined;
  });

  it('WRK-03: runs commands as another user, who cannot touch the files of the worker', async (t) => {
    if (process.getuid?.() !== 0) return t.skip('needs root to run commands as another user');
    const owner = { uid: 59_001, gid: 59_001 };
    const { executor, run, stdout, stderr, inputRoot: folder } = await executorBench(t, { owner });
    assert.ok(executor.protectsInputs);
    const input = path.join(folder, 'input');
    writeFileSync(input, 'x', { mode: 0o444 });
    spawnSync('chmod', ['0711', folder]);
    await run([
      'sh',
      '-c',
      'id -u; id -G; chmod u+w input; echo y >> input; echo z >> /dev/stdout',
    ]);
    assert.equal(stdout().split('\n').slice(0, 2).join(), '59001,59001');
    assert.match(stderr(), /ermi/);
    assert.equal(readFileSync(input, 'utf8'), 'x');
    assert.equal(statSync(input).mode & 0o777, 0o444);
    return undefined;
  });
});
