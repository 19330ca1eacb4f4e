import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import { executable, executableSkip, startRole } from '../support/executable.ts';
import { gate } from '../support/gate.ts';
import { tempDir } from '../support/temp-dir.ts';

const skip = executableSkip();
const MEBIBYTE = 2 ** 20;

/** A server and a worker, each a process of its own. */
async function startFarm(t: TestContext) {
  const argv = ['server', '--verbose', '--address', '127.0.0.1:0'];
  const server = await startRole(t, argv, /serving.*?(127\.0\.0\.1:\d+)/);
  const startWorker = (name: string) =>
    startRole(
      t,
      [
        'worker',
        '--verbose',
        `--set=worker_id=${name}`,
        '--set=slots=1',
        // Commands in a sandbox do not see the gate.
        '--set=executor.type=host',
        `--set=server_url=${server.found}`,
      ],
      /connected/,
    );
  return { address: server.found, server, startWorker };
}

/** A client as a process of its own. */
function startClient(t: TestContext, address: string, argv: readonly string[]) {
  const home = tempDir(t);
  const child = spawn(executable, [...argv], {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: home,
    env: { PATH: '/usr/bin:/bin', HOME: home, EXPBUILD_REMOTE_ENDPOINT: address },
  });
  t.after(() => child.kill('SIGKILL'));
  const hash = createHash('sha256');
  const seen = { stdout: '', stderr: '', stdoutBytes: 0 };
  const exited = Promise.withResolvers<number | null>();
  child.once('close', (exitCode) => exited.resolve(exitCode));
  child.stdout.on('data', (bytes: Buffer) => {
    hash.update(bytes);
    seen.stdoutBytes += bytes.length;
    if (seen.stdoutBytes < MEBIBYTE) seen.stdout += bytes.toString();
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    seen.stderr += text;
  });
  const shown = (pattern: RegExp) =>
    new Promise<RegExpExecArray>((resolve, reject) => {
      const look = () => {
        const match = pattern.exec(seen.stdout) ?? pattern.exec(seen.stderr);
        if (match) resolve(match);
      };
      child.stdout.on('data', look);
      child.stderr.on('data', look);
      child.once('close', () => reject(new Error(`ended without ${pattern}: ${seen.stderr}`)));
      look();
    });
  return { child, seen, exited: exited.promise, shown, hash: () => hash.copy().digest('hex') };
}

test('LOG-06, LOG-10: logs -f follows what another client has started', { skip }, async (t) => {
  const { address, startWorker } = await startFarm(t);
  await startWorker('one');
  const { wait, open } = gate(t);
  const script = `echo one; echo beside >&2; ${wait}; echo two`;
  const run = startClient(t, address, ['run', '--verbose', '--', 'sh', '-c', script]);
  await run.shown(/^one$/m);
  const [, name = ''] = await run.shown(/\(operation (\S+)\)/);
  const logs = startClient(t, address, ['logs', '-f', name]);
  await logs.shown(/^one$/m);
  await logs.shown(/^beside$/m);
  await open();
  assert.equal(await logs.exited, 0, logs.seen.stderr);
  assert.deepEqual([logs.seen.stdout, logs.seen.stderr], ['one\ntwo\n', 'beside\n']);
  assert.equal(await run.exited, 0, run.seen.stderr);
  assert.equal(run.seen.stdout, 'one\ntwo\n');
});

test('EXE-64, RCL-08: after a worker was killed another one prints on', { skip }, async (t) => {
  const { address, startWorker, server } = await startFarm(t);
  const first = await startWorker('first');
  const { wait, open } = gate(t);
  const script = `echo one; ${wait}; echo two`;
  const run = startClient(t, address, ['run', '--verbose', '--', 'sh', '-c', script]);
  await run.shown(/^one$/m);
  await first.kill();
  await startWorker('second');
  await open();
  assert.equal(await run.exited, 0, run.seen.stderr + server.output());
  assert.equal(run.seen.stdout, 'one\ntwo\n');
  assert.match(run.seen.stderr, /executed on second/);
  assert.doesNotMatch(run.seen.stderr, /warning/);
});

test(
  'LOG-08: 100 MiB of output keep memory flat, also with a reader that stops',
  { skip },
  async (t) => {
    const { address, startWorker, server } = await startFarm(t);
    const worker = await startWorker('one');
    const { wait, open } = gate(t);
    const script = `echo begin; ${wait}; head -c 104857600 /dev/zero | tr '\\0' x`;
    const run = startClient(t, address, ['run', '--verbose', '--', 'sh', '-c', script]);
    await run.shown(/^begin$/m);
    const [, name = ''] = await run.shown(/\(operation (\S+)\)/);
    const stopped = startClient(t, address, ['logs', '-f', name]);
    await stopped.shown(/^begin$/m);
    stopped.child.kill('SIGSTOP');
    const before = [server.pid, worker.pid].map(peakResidentBytes);
    await open();
    assert.equal(await run.exited, 0, run.seen.stderr);
    const expected = createHash('sha256')
      .update('begin\n')
      .update('x'.repeat(100 * MEBIBYTE));
    assert.equal(run.hash(), expected.digest('hex'));
    const grown = [server.pid, worker.pid].map(
      (pid, index) => (peakResidentBytes(pid) - (before[index] ?? 0)) / MEBIBYTE,
    );
    t.diagnostic(`grown by ${grown.map(Math.round).join(' and ')} MiB`);
    for (const mebibytes of grown) assert.ok(mebibytes < 96, `${mebibytes} MiB`);
    stopped.child.kill('SIGCONT');
    assert.equal(await stopped.exited, 0, stopped.seen.stderr);
    assert.equal(stopped.hash(), run.hash());
  },
);

function peakResidentBytes(pid: number): number {
  const [, kilobytes] =
    /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kilobytes) * 1024;
}
