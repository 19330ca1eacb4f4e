import assert from 'node:assert/strict';
import { readFileSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { Code } from '../../src/base/status.ts';
import { DockerEngine } from '../../src/executor/docker-engine.ts';
import type { DockerExecutorOptions } from '../../src/executor/docker-executor.ts';
import { dockerPromises, provePromises } from '../../src/executor/promises.ts';
import { findFacts } from '../../src/executor/self-test.ts';
import { dockerBench as dockerBenchOn, owner } from '../support/docker-bench.ts';
import {
  type DockerDaemon,
  dockerSkip,
  gvisorSkip,
  startDockerDaemon,
} from '../support/docker-daemon.ts';
import { lookAround } from '../support/look-around.ts';
import { processesNaming } from '../support/processes.ts';
import { never } from '../support/never.ts';

/** Long enough to be seen, on kernels too that do not tell when a container's processes have ended. */
const busy = 'i=0; while [ $i -lt 1000000 ]; do i=$((i+1)); done';
let daemon: DockerDaemon;

const dockerBench = (t: TestContext, changes?: Partial<DockerExecutorOptions>) =>
  dockerBenchOn(daemon, t, changes);

/** Waits for a container that runs. */
async function oneContainer(): Promise<string> {
  for (;;) {
    const [name] = daemon.docker('ps', '--format', '{{.Names}}').split('\n');
    if (name) return name;
    await wait(20);
  }
}

describe('a container', { timeout: 300_000, skip: dockerSkip }, () => {
  const closing = new AsyncDisposableStack();
  before(async () => {
    daemon = await startDockerDaemon({ after: (end) => closing.defer(end) });
    daemon.busybox();
  });
  after(() => closing.disposeAsync());

  it('WRK-20: runs a command in its input root, and outputs are found outside', async (t) => {
    const { run, inputRoot, stdout, stderr } = dockerBench(t);
    writeFileSync(path.join(inputRoot, 'in'), 'given\n');
    const outcome = await run([
      'sh',
      '-c',
      'pwd; id -u; cat in; echo out > made; echo err >&2; exit 3',
    ]);
    assert.equal(outcome.kind === 'exited' && outcome.exitCode, 3);
    assert.equal(stdout(), `/build\n${owner.uid}\ngiven\n`);
    assert.equal(stderr(), 'err\n');
    assert.equal(readFileSync(path.join(inputRoot, 'made'), 'utf8'), 'out\n');
    assert.deepEqual(daemon.containers(), []);
  });

  it('DK-06: loses no output and no exit code of commands that end at once', async (t) => {
    const { run, stdout, stderr } = dockerBench(t);
    for (let exitCode = 0; exitCode < 5; exitCode++) {
      const outcome = await run(['sh', '-c', `printf out; printf err >&2; exit ${exitCode}`]);
      assert.equal(outcome.kind === 'exited' && outcome.exitCode, exitCode);
      assert.deepEqual([stdout(), stderr()], ['out', 'err']);
    }
    const large = await run(['sh', '-c', 'head -c 900000 /dev/zero | tr "\\0" x; echo end >&2']);
    assert.equal(large.kind, 'exited');
    assert.equal(stdout(), 'x'.repeat(900_000));
    assert.equal(stderr(), 'end\n');
  });

  it('ACT-10, ACT-13: gives it its own environment, PATH and TMPDIR, and none of the image', async (t) => {
    daemon.busybox('busybox:env', ['ENV OF_IMAGE=1', 'ENV A=image', 'ENV PATH=/nowhere']);
    const { run, stdout } = dockerBench(t);
    const properties = new Map([['container-image', 'docker://busybox:env']]);
    await run(['env'], { environment: { 'B-b': 'b c', A: '', HOME: '/tmp' }, properties });
    assert.deepEqual(stdout().trim().split('\n').toSorted(), [
      'A=',
      'B-b=b c',
      'HOME=/tmp',
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'TMPDIR=/tmp',
    ]);
  });

  it("ACT-11: refuses what is not there or cannot be run, as the action's own fault", async (t) => {
    const { run, inputRoot } = dockerBench(t);
    writeFileSync(path.join(inputRoot, 'text'), 'no program', { mode: 0o644 });
    for (const name of ['none', '/build/none', './text']) {
      await assert.rejects(run([name]), { code: Code.INVALID_ARGUMENT, message: /cannot run / });
    }
    await assert.rejects(run(['echo', 'a\0b']), { code: Code.INVALID_ARGUMENT });
    const own = await run(['sh', '-c', 'echo "[FATAL] no" >&2; exit 127']);
    assert.equal(own.kind === 'exited' && own.exitCode, 127);
    assert.deepEqual(daemon.containers(), []);
  });

  it('DK-01: keeps all it promises, as a command inside finds and the daemon confirms', async (t) => {
    const { executor, run } = dockerBench(t);
    const { kernel, mountPoints, processesSeen, networkNamespace, ...facts } = await findFacts(
      executor,
      lookAround(t),
      never,
    );
    assert.deepEqual(facts, {
      uid: owner.uid,
      capabilities: 0n,
      noNewPrivileges: true,
      seccomp: true,
      networkInterfaces: ['lo'],
      rootWritable: false,
      outsideWritable: false,
      newUserNamespace: false,
      descriptors: ['0', '1', '2'],
    });
    assert.ok(processesSeen < 10);
    assert.ok(mountPoints.includes('/tmp'));
    assert.notEqual(networkNamespace, readlinkSync('/proc/self/ns/net'));
    assert.match(kernel, /^Linux version/);
    await provePromises(dockerPromises, executor, lookAround(t), never);

    const cancel = new AbortController();
    const running = run(['sleep', '60'], {}, cancel.signal);
    const name = await oneContainer();
    const [seen] = JSON.parse(daemon.docker('inspect', name)) as [
      { HostConfig: Record<string, unknown>; Config: Record<string, unknown> },
    ];
    cancel.abort();
    await assert.rejects(running, { code: Code.CANCELLED });
    const golden = {
      NetworkMode: 'none',
      CapAdd: null,
      CapDrop: ['ALL'],
      Privileged: false,
      SecurityOpt: ['no-new-privileges:true'],
      ReadonlyRootfs: true,
      IpcMode: 'private',
      PidMode: '',
      UTSMode: '',
      CgroupnsMode: 'private',
      UsernsMode: '',
      Memory: 64 * 2 ** 20,
      MemorySwap: 64 * 2 ** 20,
      PidsLimit: 64,
      AutoRemove: false,
      Binds: null,
      VolumesFrom: null,
      Runtime: 'runc',
      LogConfig: { Type: 'none', Config: {} },
    };
    const chosen = Object.keys(golden).map((key) => [key, seen.HostConfig[key]]);
    assert.deepEqual(Object.fromEntries(chosen), golden);
    assert.deepEqual(seen.HostConfig['Devices'] ?? [], []);
    assert.ok((seen.HostConfig['MaskedPaths'] as string[]).includes('/proc/kcore'));
    assert.equal(seen.Config['User'], `${owner.uid}:${owner.gid}`);
  });

  it('DK-13: holds no file of the machine open, and nothing that hides one can be moved', async (t) => {
    const { run, inputRoot, stdout, stderr } = dockerBench(t);
    // A shell's own are those of 10 and more.
    const look = `for fd in /proc/[0-9]*/fd/[0-9]; do readlink $fd; done | sort -u
      echo; ls /dev/console; cat /proc/kcore /proc/keys /proc/timer_list | head -c 10
      for at in /sys/firmware /proc/scsi; do ls -A $at; done
      for at in /proc/sys/kernel/core_pattern /proc/sysrq-trigger; do (echo > $at) && echo $at; done
      umount /proc/kcore && echo umount; mv /proc/keys /proc/x && echo mv`;
    await run(['sh', '-c', look]);
    const [opened = '', others] = stdout().split('\n\n');
    for (const file of opened.split('\n')) assert.match(file, /^(?:pipe:.*|\/dev\/null)$/);
    assert.equal(others, '', stderr());
    // CVE-2024-21626 ran commands where a file leads that runc has open. A worker refuses such a link (WK-22).
    for (const fd of [6, 7, 8, 9]) {
      const link = path.join(inputRoot, `link-${fd}`);
      symlinkSync(`/proc/self/fd/${fd}`, link);
      await assert.rejects(run(['pwd'], { workingDirectory: link }), { code: Code.INTERNAL });
    }
    assert.deepEqual(daemon.containers(), []);
  });

  it('DK-02: overrules what the image says of users, entry points, health and volumes', async (t) => {
    daemon.busybox('busybox:odd', [
      'USER root',
      'ENTRYPOINT ["/bin/false"]',
      'VOLUME /data',
      'HEALTHCHECK CMD /bin/true',
      'WORKDIR /bin',
    ]);
    const { run, stdout } = dockerBench(t);
    const properties = new Map([['container-image', 'busybox:odd']]);
    const look = 'id -u; pwd; grep " /data " /proc/mounts | cut -d " " -f 1';
    await run(['sh', '-c', look], { properties });
    assert.equal(stdout(), `${owner.uid}\n/build\ntmpfs\n`);
    assert.equal(daemon.docker('volume', 'ls', '-q'), '');
  });

  for (const [name, value] of [
    ['dockerPrivileged', 'true'],
    ['dockerNetwork', 'host'],
    ['dockerUser', 'root'],
    ['dockerRunAsRoot', 'true'],
    ['dockerRuntime', 'runc'],
    ['dockerAddCapabilities', 'SYS_ADMIN'],
    ['dockerSiblingContainers', 'true'],
    ['containerVolumes', '/:/host'],
    ['network', 'host'],
    ['network', 'on'],
    ['container-image', 'ubuntu'],
    ['container-image', 'docker://busybox:test --privileged'],
  ] as const) {
    it(`DK-03: refuses the property ${name}=${value}`, async (t) => {
      const { run } = dockerBench(t);
      await assert.rejects(run(['true'], { properties: new Map([[name, value]]) }), {
        code: Code.INVALID_ARGUMENT,
        message: new RegExp(name),
      });
    });
  }

  it("DK-03: takes properties that ask for nothing, and others' as nothing of its own", async (t) => {
    const { run } = dockerBench(t);
    const properties = new Map([
      ['dockerNetwork', 'off'],
      ['dockerPrivileged', 'false'],
      ['network', 'off'],
      ['container-image', 'none'],
      ['OSFamily', 'linux'],
    ]);
    assert.equal((await run(['true'], { properties })).kind, 'exited');
  });

  it(
    'leaves out what nobody counts, as for gVisor without cgroups',
    { skip: gvisorSkip },
    async (t) => {
      const { run } = dockerBench(t, { runtime: 'runsc' });
      const outcome = await run(['sh', '-c', busy]);
      assert.equal(outcome.kind, 'exited');
      const nothing = {
        userTimeMs: undefined,
        systemTimeMs: undefined,
        maxResidentBytes: undefined,
      };
      assert.deepEqual(outcome.usage, nothing);
    },
  );

  it('WK-23: /tmp, /var/tmp and /dev/shm are private, limited, and gone afterwards', async (t) => {
    const { run, stdout, stderr } = dockerBench(t);
    const folders = '/tmp /var/tmp /dev/shm';
    await run([
      'sh',
      '-c',
      `for at in ${folders}; do dd if=/dev/zero of=$at/x bs=1M count=20; done`,
    ]);
    await run([
      'sh',
      '-c',
      `ls ${folders}; for at in ${folders}; do head -c 20000000 /dev/zero > $at/x; stat -c %s $at/x; done`,
    ]);
    const lines = stdout()
      .trim()
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('/'));
    assert.equal(lines.length, 3, stdout() + stderr());
    for (const size of lines) assert.ok(Number(size) <= 10_002_432, size);
  });

  it('WRK-07: gives a command time to end by itself when its time is over', async (t) => {
    const { run, stdout } = dockerBench(t, { graceMs: 10_000 });
    const script = 'trap "echo ended; exit" TERM; echo begun; while :; do sleep 0.01; done';
    const outcome = await run(['sh', '-c', script], { timeoutMs: 300 });
    assert.equal(outcome.kind, 'timed-out');
    assert.ok(outcome.wallTimeMs >= 300);
    assert.equal(stdout(), 'begun\nended\n');
  });

  for (const [how, last] of [
    ['success', 'sleep 0.05'],
    ['a timeout', 'while :; do sleep 1; done'],
  ] as const) {
    it(`WK-01, WK-02: after ${how}, nothing is left of what left the session, forks or ignores signals`, async (t) => {
      const { run } = dockerBench(t, { graceMs: 50 });
      const mark = String(process.pid * 1_000 + how.length);
      const stubborn = `trap "" TERM HUP; (setsid sh -c 'trap "" TERM; sleep ${mark}; sleep ${mark}' &)`;
      const storm = `(setsid sh -c 'while :; do (sleep ${mark} &) ; sleep 0.01; done' > /dev/null 2>&1 &)`;
      await run(['sh', '-c', `${stubborn}; ${storm}; ${last}`], { timeoutMs: 1_000 });
      assert.deepEqual(processesNaming(mark), []);
      assert.deepEqual(daemon.containers(), []);
    });
  }

  it('WK-14: ends a command that says too much, and keeps what fits', async (t) => {
    const { run, stdout } = dockerBench(t);
    const outcome = await run(['yes']);
    assert.equal(outcome.kind, 'output-limit');
    assert.equal(stdout().length, 1_000_000);
  });

  it('WK-25, DK-19: shows neither the worker, other actions nor the daemon', async (t) => {
    const { run, stdout, inputRoot } = dockerBench(t);
    await run([
      'sh',
      '-c',
      `ls ${path.dirname(inputRoot)} /var/run/docker.sock ${daemon.socket}; ls /`,
    ]);
    const allowed = /^(?:bin|build|dev|etc|lib\w*|proc|run|sbin|sys|tmp|usr|var)$/;
    assert.deepEqual(
      stdout()
        .trim()
        .split('\n')
        .filter((name) => !allowed.test(name)),
      [],
    );
  });

  it('DK-07: names an image that is missing, or that is not to be had', async (t) => {
    const { run } = dockerBench(t);
    const absent = new Map([['container-image', 'busybox:absent']]);
    await assert.rejects(run(['true'], { properties: absent }), {
      code: Code.FAILED_PRECONDITION,
      message: /image busybox:absent is not on the worker's machine.*"never"/,
    });
  });

  it("DK-05: a daemon that hangs is the worker's trouble: the command is ended, and removed when it is back", async (t) => {
    const engine = new DockerEngine(daemon.socket, 1_000);
    const { executor, run } = dockerBench(t, { engine });
    await run(['sleep', '0.3']);
    const mark = String(process.pid * 1_000 + 5);
    const hangs = {
      code: Code.UNAVAILABLE,
      message: /Docker daemon at .* does not answer when asked .*nothing within 1 s/,
    };
    const rejected = assert.rejects(run(['sleep', mark]), hangs);
    await oneContainer();
    daemon.pause();
    try {
      await rejected;
      assert.deepEqual(processesNaming(mark), []);
      await assert.rejects(executor.clean(), hangs);
      await assert.rejects(run(['true']), hangs);
    } finally {
      daemon.resume();
    }
    // What it was asked for meanwhile it does now, too.
    while (
      !(await executor.clean().then(
        () => true,
        () => false,
      ))
    )
      await wait(50);
    assert.deepEqual(daemon.containers(), []);
    assert.equal((await run(['true'])).kind, 'exited');
  });

  it("DK-05: a daemon that is down is the worker's trouble, and what was left is removed when it is back", async (t) => {
    const { run } = dockerBench(t);
    const running = run(['sleep', '60']);
    const lost = { code: Code.UNAVAILABLE, message: /Docker daemon|broke off/ };
    const rejected = assert.rejects(running, lost);
    await oneContainer();
    await daemon.end('SIGKILL');
    await rejected;
    await assert.rejects(run(['true']), {
      code: Code.UNAVAILABLE,
      message: /the Docker daemon at .*docker.sock does not answer/,
    });
    await daemon.restart();
    assert.equal(daemon.containers().length, 1);
    assert.equal((await run(['true'])).kind, 'exited');
    assert.deepEqual(daemon.containers(), []);
  });
});
