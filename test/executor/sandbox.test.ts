import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { findFacts } from '../../src/executor/self-test.ts';
import { provePromises, sandboxPromises } from '../../src/executor/promises.ts';
import { executorBench, untilDead } from '../support/executor-bench.ts';
import { launcherCommand, startHostExecutor } from '../support/host-executor.ts';
import { lookAround } from '../support/look-around.ts';
import { never } from '../support/never.ts';
import { findSandbox, sandboxOwner, sandboxSkip } from '../support/sandbox.ts';
import { tempDir } from '../support/temp-dir.ts';

const bench = async (t: TestContext, options: Parameters<typeof executorBench>[1] = {}) =>
  executorBench(t, { sandbox: await findSandbox(t), owner: sandboxOwner, ...options });

/** Processes of this machine whose command line holds a text that only the test's have. */
function processesNaming(mark: string): string[] {
  return readdirSync('/proc').filter((id) => {
    if (!/^\d+$/.test(id)) return false;
    try {
      const command = readFileSync(`/proc/${id}/cmdline`, 'utf8');
      return command.split('\0').includes(mark);
    } catch {
      return false;
    }
  });
}

async function oneNaming(mark: string): Promise<string> {
  for (;;) {
    const [found] = processesNaming(mark);
    if (found !== undefined) return found;
    await new Promise(setImmediate);
  }
}

/** How many interfaces /proc/net/dev tells of. */
const interfaces = (text: string) => text.trim().split('\n').length - 2;

/** A number of seconds to sleep that no other test sleeps. */
let marks = process.pid * 1_000;
const nextMark = () => String(++marks);

describe('a sandbox', { timeout: 180_000, skip: sandboxSkip }, () => {
  it('DK-15, WK-17: keeps all it promises, as a command inside finds', async (t) => {
    const sandbox = await findSandbox(t);
    const executor = await startHostExecutor(t, { sandbox, owner: sandboxOwner });
    const found = await findFacts(executor, lookAround(t), never);
    const { kernel, networkNamespace, ...facts } = found;
    assert.notEqual(networkNamespace, readlinkSync('/proc/self/ns/net'));
    assert.match(kernel, /^Linux version /);
    assert.deepEqual(
      { ...facts, mountPoints: [], processesSeen: 0 },
      {
        uid: 65_532,
        capabilities: 0n,
        noNewPrivileges: true,
        seccomp: true,
        networkInterfaces: ['lo'],
        rootWritable: false,
        outsideWritable: false,
        processesSeen: 0,
        newUserNamespace: false,
        descriptors: ['0', '1', '2'],
        mountPoints: [],
      },
    );
    assert.ok(facts.processesSeen < 10);
    await provePromises(sandboxPromises, executor, lookAround(t), never);
  });

  it('DK-16: names what is missing, and what else could be chosen', async (t) => {
    await assert.rejects(findSandbox(t, { searchPath: '/nowhere' }), {
      code: Code.FAILED_PRECONDITION,
      message: /bubblewrap is not installed.*apt install bubblewrap.*executor.type = "host"/,
    });
    const folder = tempDir(t);
    const old = '#!/bin/sh\necho bubblewrap 0.4.1\n';
    writeFileSync(path.join(folder, 'bwrap'), old, { mode: 0o755 });
    await assert.rejects(findSandbox(t, { searchPath: folder }), {
      message: /bwrap is bubblewrap 0.4.1; it must be 0.8.0 or newer/,
    });
  });

  it('a command on the host is found to break the promises', async (t) => {
    const executor = await startHostExecutor(t);
    await assert.rejects(provePromises(sandboxPromises, executor, lookAround(t), never), {
      code: Code.FAILED_PRECONDITION,
      message: /without: .*filtered system calls, /,
    });
  });

  it('WRK-20: runs a command in its input root, and outputs are found outside', async (t) => {
    const { run, inputRoot, stdout, stderr } = await bench(t);
    const outcome = await run(['sh', '-c', 'pwd; id -u; echo out > made; echo err >&2; exit 3']);
    assert.equal(outcome.kind === 'exited' && outcome.exitCode, 3);
    assert.equal(stdout(), '/build\n65532\n');
    assert.equal(stderr(), 'err\n');
    assert.equal(readFileSync(path.join(inputRoot, 'made'), 'utf8'), 'out\n');
  });

  it('ACT-10, ACT-13: gives it its own environment, PATH and TMPDIR, and nothing else', async (t) => {
    const { run, stdout } = await bench(t);
    await run(['/usr/bin/env', '-0'], { environment: { 'B-b': 'b\nc', A: '', PWD: 'x', _: '1' } });
    assert.deepEqual(stdout().split('\0').filter(Boolean).toSorted(), [
      'A=',
      'B-b=b\nc',
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'PWD=x',
      'TMPDIR=/tmp',
      '_=1',
    ]);
  });

  it('ACT-09, ACT-11: finds programs as the command would, and refuses what it does not see', async (t) => {
    const { run, inputRoot, stdout, folder } = await bench(t);
    const tool = '#!/bin/sh\necho tool "$1"\n';
    writeFileSync(path.join(inputRoot, 'tool'), tool, { mode: 0o755 });
    writeFileSync(path.join(inputRoot, 'a=b'), tool, { mode: 0o755 });
    for (const name of ['./tool', '/build/tool', './a=b']) {
      await run([name, 'a b; $(x)']);
      assert.equal(stdout(), 'tool a b; $(x)\n');
    }
    await run(['tool', '1'], { environment: { PATH: '/nowhere:/build:/usr/bin' } });
    assert.equal(stdout(), 'tool 1\n');
    writeFileSync(path.join(inputRoot, '-x'), tool, { mode: 0o755 });
    await run(['-x', '1'], { environment: { PATH: '/build' } });
    assert.equal(stdout(), 'tool 1\n');
    await run(['bash', '-c', 'tr "\\0" " " < /proc/$$/cmdline; true']);
    assert.match(stdout(), /^bash -c/);
    writeFileSync(path.join(folder, 'hidden'), tool, { mode: 0o755 });
    await assert.rejects(run([path.join(folder, 'hidden')]), {
      code: Code.INVALID_ARGUMENT,
      message: /hidden is not visible in the sandbox/,
    });
    await assert.rejects(run(['/build/none']), { code: Code.INVALID_ARGUMENT });
  });

  it('shows what it is told to show, and lets nobody change it', async (t) => {
    const shown = tempDir(t);
    writeFileSync(path.join(shown, 'tool'), '#!/bin/sh\ncat "$0"', { mode: 0o755 });
    const sandbox = await findSandbox(t, { readonlyPaths: [shown] });
    const { run, stdout } = await bench(t, { sandbox });
    const outcome = await run([path.join(shown, 'tool')]);
    assert.equal(outcome.kind === 'exited' && outcome.exitCode, 0);
    assert.equal(stdout(), '#!/bin/sh\ncat "$0"');
    const write = await run(['sh', '-c', `echo > ${shown}/tool`]);
    assert.notEqual(write.kind === 'exited' && write.exitCode, 0);
    for (const [unshown, why] of [
      ['/no/such', /cannot show \/no\/such of executor.readonly_paths: it is not .* exists/],
      ['/tmp/', /each command has its own there/],
      ['/', /each command has its own there/],
    ] as const) {
      await assert.rejects(findSandbox(t, { readonlyPaths: [unshown] }), why);
    }
  });

  it('WK-24, DK-17: has no sockets that no network namespace holds, as those to the host of a virtual machine', async (t) => {
    if (!existsSync('/usr/bin/python3')) return t.skip('needs python3');
    const { run, stdout } = await bench(t);
    const python = [
      'import socket',
      'for family in [1, 2, 10, 16, 0, 3, 17, 38, 40, 45, 2 ** 31]:',
      '  try: socket.socket(family - (2 ** 32 if family >= 2 ** 31 else 0), 2 if family != 16 else 3, 0); print(family, "opens")',
      '  except OSError as e: print(family, e.errno)',
      'print("pair", len(socket.socketpair()))',
    ].join('\n');
    await run(['python3', '-c', python]);
    const opens = [1, 2, 10, 16].map((family) => `${family} opens`);
    const none = [0, 3, 17, 38, 40, 45, 2 ** 31].map((family) => `${family} 97`);
    assert.deepEqual(stdout().trim().split('\n'), [...opens, ...none, 'pair 2']);
  });

  it('DK-17: lets no command into terminals, keyrings, mounts and new namespaces', async (t) => {
    const { run, stdout } = await bench(t);
    const python = [
      'import ctypes, fcntl, os',
      'c = ctypes.CDLL(None, use_errno=True)',
      'def call(*a): r = c.syscall(*a); return ctypes.get_errno() if r < 0 else 0',
      'print("keyctl", call(250, 0, -3, 0))',
      'print("mount", call(165, b"none", b"/tmp", b"tmpfs", 0, 0))',
      'print("unshare", call(272, 0x10000000))',
      'print("clone", call(56, 0x10000000 | 17, 0, 0, 0, 0))',
      'print("clone3", call(435, 0, 0))',
      'print("bpf", call(321, 0, 0, 0))',
      'print("x32", call(0x40000000 | 39))',
      'try: fcntl.ioctl(0, 0x5412, b"x")',
      'except OSError as e: print("TIOCSTI", e.errno)',
      'print("getpid", call(39))',
    ].join('\n');
    if (!existsSync('/usr/bin/python3')) return t.skip('needs python3');
    await run(['python3', '-c', python]);
    assert.deepEqual(stdout().trim().split('\n'), [
      'keyctl 1',
      'mount 1',
      'unshare 1',
      'clone 1',
      'clone3 38',
      'bpf 1',
      'x32 38',
      'TIOCSTI 1',
      'getpid 0',
    ]);
    return undefined;
  });

  it('WK-23: /tmp and /dev/shm are private, limited, and gone afterwards', async (t) => {
    const sandbox = await findSandbox(t, { tmpBytesMax: 1_000_000 });
    const { run, stdout } = await bench(t, { sandbox });
    const script = 'for at in /tmp /dev/shm; do head -c 5000000 /dev/zero > $at/x; ls $at; done';
    await run(['sh', '-c', `${script}; stat -c %s /tmp/x /dev/shm/x`]);
    const [first, second, ...sizes] = stdout().trim().split('\n');
    assert.deepEqual([first, second], ['x', 'x']);
    for (const size of sizes) assert.ok(Number(size) <= 1_003_520, size);
    await run(['ls', '/tmp', '/dev/shm']);
    assert.equal(stdout(), '/dev/shm:\n\n/tmp:\n');
  });

  it('WK-23: lets a command write to its input root, /tmp and /dev/shm alone', async (t) => {
    const { run, stdout } = await bench(t);
    const places = '/ /bin /etc /usr /usr/bin /dev /dev/pts /proc /proc/sys /build /tmp /dev/shm';
    await run(['sh', '-c', `for at in ${places}; do (: > $at/x) 2>/dev/null && echo $at; done`]);
    assert.deepEqual(stdout().trim().split('\n'), ['/build', '/tmp', '/dev/shm']);
    await run(['sh', '-c', 'echo a > /dev/null; cat /dev/fd/0; ls /dev/ptmx']);
    assert.match(stdout(), /^\/dev\/ptmx\n/);
  });

  it('WK-25: shows neither the worker nor other actions', async (t) => {
    const { run, stdout, folder } = await bench(t);
    await run([
      'sh',
      '-c',
      `ls ${folder} /root /home 2>/dev/null; ls /; ls /proc | grep -c '^[0-9]'`,
    ]);
    const seen = stdout().trim().split('\n');
    const allowed = /^(bin|build|dev|etc|lib\w*|proc|sbin|tmp|usr)$/;
    assert.deepEqual(
      seen.slice(0, -1).filter((name) => !allowed.test(name)),
      [],
    );
    assert.ok(Number(seen.at(-1)) < 10);
  });

  it('WK-24: reaches no address but its own', async (t) => {
    const { run, stdout } = await bench(t);
    await run([
      'bash',
      '-c',
      'exec 3<>/dev/tcp/127.0.0.1/1 || ls /sys/class/net; cat /proc/net/route',
    ]);
    assert.equal(stdout().trim().split('\n').length, 1);
  });

  it('DK-03, WRK-20: gives the network to who asks for it, where that is allowed', async (t) => {
    const look = ['cat', '/proc/net/dev'] as const;
    const refusing = await bench(t);
    await assert.rejects(refusing.run(look, { network: true }), {
      code: Code.INVALID_ARGUMENT,
      message: /network=on.*executor.network must be "on-request"/,
    });
    const sandbox = await findSandbox(t, { networkAllowed: true });
    const { run, stdout, stderr } = await bench(t, { sandbox });
    await run(look, { network: true });
    assert.equal(stderr(), '');
    assert.equal(interfaces(stdout()), interfaces(readFileSync('/proc/net/dev', 'utf8')));
    await run(look);
    assert.equal(interfaces(stdout()), 1);
  });

  it('RES-23: tells a signal that ended the command, and says nothing of its own', async (t) => {
    const { run, stderr } = await bench(t);
    const outcome = await run(['sh', '-c', 'kill -SEGV $$']);
    assert.equal(outcome.kind === 'exited' && outcome.exitCode, 139);
    assert.equal(stderr(), '');
  });

  for (const [how, changes] of [
    ['after success', {}],
    ['after a timeout', { timeoutMs: 300 }],
  ] as const) {
    it(`WK-01, WK-02, WK-32: ${how}, nothing is left of what left the session, forks or ignores signals`, async (t) => {
      const { run } = await bench(t, { graceMs: 50 });
      const mark = nextMark();
      const stubborn = `trap "" TERM HUP INT; (setsid sh -c 'trap "" TERM; sleep ${mark}; sleep ${mark}' &)`;
      const storm = `(setsid sh -c 'while :; do (sleep ${mark} &) ; sleep 0.001; done' > /dev/null 2>&1 &)`;
      const wait = 'timeoutMs' in changes ? '; while :; do sleep 1; done' : '; sleep 0.05';
      const outcome = await run(['sh', '-c', `${stubborn}; ${storm}${wait}`], changes);
      assert.equal(outcome.kind, 'timeoutMs' in changes ? 'timed-out' : 'exited');
      assert.deepEqual(processesNaming(mark), []);
    });
  }

  it('WK-27: counts the processes of each command for itself, without a cgroup or user of its own', async (t) => {
    const sandbox = await findSandbox(t, { processesMax: 30 });
    const { run, stdout, stderr } = await bench(t, { sandbox });
    const other = await bench(t, { sandbox });
    const ten = 'for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1 & done; wait';
    const held = other.run(['sh', '-c', ten]);
    const bomb = await run(['sh', '-c', 'ulimit -p; for i in $(seq 60); do sleep 60 & done']);
    assert.equal(stdout(), '30\n');
    assert.match(stderr(), /Cannot fork/);
    assert.equal(bomb.kind === 'exited' && bomb.exitCode, 2);
    await run(['sh', '-c', `${ten}; ulimit -p 60`]);
    assert.match(stderr(), /error setting limit/);
    assert.equal((await held).kind, 'exited');
  });

  it('WRK-07: gives a command time to end by itself when its time is over', async (t) => {
    const { run, stdout } = await bench(t, { graceMs: 10_000 });
    const script = 'trap "echo ended; exit" TERM; echo begun; while :; do sleep 0.01; done';
    const outcome = await run(['sh', '-c', script], { timeoutMs: 300 });
    assert.equal(outcome.kind, 'timed-out');
    assert.equal(stdout(), 'begun\nended\n');
  });

  it('WK-01: a cancelled command is gone when that is told', async (t) => {
    const { run } = await bench(t, { graceMs: 50 });
    const mark = nextMark();
    const cancel = new AbortController();
    const running = run(['sh', '-c', `setsid sleep ${mark}; true`], {}, cancel.signal);
    await oneNaming(mark);
    cancel.abort();
    await assert.rejects(running, { code: Code.CANCELLED });
    assert.deepEqual(processesNaming(mark), []);
  });

  it('WK-28: nothing is left when bubblewrap itself is killed', async (t) => {
    const { run } = await bench(t);
    const mark = nextMark();
    const running = run(['sh', '-c', `setsid sleep ${mark}; true`]);
    await oneNaming(mark);
    const outside = processesNaming('--unshare-pid').filter((id) =>
      readFileSync(`/proc/${id}/cmdline`, 'utf8').includes(mark),
    );
    for (const id of outside) process.kill(Number(id), 'SIGKILL');
    // No result: another worker may do better.
    await assert.rejects(running, {
      code: Code.INTERNAL,
      message: /ended by SIGKILL from outside/,
    });
    assert.deepEqual(processesNaming(mark), []);
  });

  it('WK-05: nothing is left when the worker is killed', async (t) => {
    const mark = nextMark();
    const folder = tempDir(t);
    const script = `
      import { startHostExecutor } from ${JSON.stringify(path.resolve('test/support/host-executor.ts'))};
      import { executorBench } from ${JSON.stringify(path.resolve('test/support/executor-bench.ts'))};
      import { findSandbox, sandboxOwner } from ${JSON.stringify(path.resolve('test/support/sandbox.ts'))};
      const t = { after() {} };
      const { run } = await executorBench(t, { sandbox: await findSandbox(t), owner: sandboxOwner });
      await run(['sh', '-c', 'setsid sleep ${mark}; true']);`;
    const [node] = launcherCommand;
    const worker = spawn(node, ['--input-type=module', '-e', script], {
      stdio: 'inherit',
      env: { TMPDIR: folder },
    });
    const exited = once(worker, 'exit');
    const id = await oneNaming(mark);
    worker.kill('SIGKILL');
    await exited;
    await untilDead(id);
  });

  it('measures CPU time and memory of the command and its children', async (t) => {
    const { run } = await bench(t);
    const loop = 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done';
    const outcome = await run([
      'sh',
      '-c',
      `sh -c '${loop}'; head -c 30000000 /dev/zero | tail -c 30000000 | wc -c; sleep 0.1`,
    ]);
    assert.ok((outcome.usage.userTimeMs ?? 0) >= 50, String(outcome.usage.userTimeMs));
    assert.ok((outcome.usage.maxResidentBytes ?? 0) > 1_000_000);
  });
});
