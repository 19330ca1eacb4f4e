import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';
import { newId } from '../../src/base/id.ts';
import { type Log, silentLog } from '../../src/base/log.ts';
import { remotePorts } from '../../src/cli/remote-ports.ts';
import { startWorker } from '../../src/cli/worker.ts';
import { readWorkerConfig } from '../../src/config/worker-config.ts';
import { openEscapes } from '../../src/executor/runc-escapes.ts';
import {
  type DockerDaemon,
  dockerSkip,
  firstRemapped,
  gvisorSkip,
  remapSkip,
  startDockerDaemon,
} from '../support/docker-daemon.ts';
import { inReverse } from '../support/in-reverse.ts';
import { keepLines } from '../support/keep-lines.ts';
import { podmanSkip, startPodman } from '../support/podman-service.ts';
import { processesNaming } from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';
import { testSurroundings } from '../support/test-surroundings.ts';

const inSource = (file: string) => JSON.stringify(path.resolve('src', file));
const examples = new URL('../../configs/worker/', import.meta.url);

interface StartChanges {
  readonly changes?: Record<string, string>;
  readonly uid?: number | undefined;
  readonly log?: Log;
  readonly memoryMax?: string | undefined;
}

/** Starts a worker with an example and what a test changes of it; tells what it says of itself. */
async function isolationOn(
  socket: string,
  t: TestContext,
  name: string,
  { changes = {}, uid = process.getuid?.(), log = silentLog, memoryMax }: StartChanges = {},
) {
  const folder = tempDir(t);
  const surroundings = { ...testSurroundings(folder), uid };
  const file = { path: name, text: readFileSync(new URL(name, examples), 'utf8') };
  const values = { socket, image: 'busybox:test', pull: 'never', ...changes };
  const flags = Object.entries(values).map(([key, value]) => ({
    key: `executor.docker.${key}`,
    value,
    flag: '--set',
  }));
  const memory = { key: 'executor.memory_max', value: memoryMax ?? '', flag: '--set' };
  const config = readWorkerConfig(
    { file, environment: {}, flags: memoryMax === undefined ? flags : [...flags, memory] },
    surroundings,
    folder,
  );
  const deps = { clock: systemClock, newId, log, surroundings };
  await using closing = new AsyncDisposableStack();
  const ports = remotePorts(config, deps, closing);
  const worker = await startWorker({ ...config, workerId: 'one' }, ports, deps, closing);
  return worker.isolation;
}

describe('a worker that uses Docker', { timeout: 300_000, skip: dockerSkip }, () => {
  let daemon: DockerDaemon;
  const ending = new AsyncDisposableStack();
  before(async () => {
    daemon = await startDockerDaemon({ after: (end) => ending.defer(end) });
    daemon.busybox();
  });
  after(() => ending.disposeAsync());

  const isolationOf = (t: TestContext, name: string, changes: Record<string, string> = {}) =>
    isolationOn(daemon.socket, t, name, {
      changes,
      memoryMax: name === 'docker.toml' ? '256MiB' : undefined,
    });

  it('docker.toml starts a worker as it says', async (t) => {
    const isolation = await isolationOf(t, 'docker.toml');
    assert.match(
      isolation,
      /^docker: runc of Docker \d.*, busybox:test .*no network, read-only root/,
    );
    assert.deepEqual(daemon.containers(), []);
  });

  it('DK-13: warns where runc, by its number, has known ways out', async (t) => {
    const { runc = '' } = await daemon.engine.facts();
    const said = execFileSync('/usr/sbin/runc', ['--version'], { env: {} });
    assert.equal(runc.split(' ')[0], /version (\S+)/.exec(said.toString())?.[1]);
    const { log, lines } = keepLines();
    await isolationOn(daemon.socket, t, 'docker.toml', { log });
    const warned = lines.filter((line) => 'runc' in line);
    const open = openEscapes(runc).join(', ');
    const expected = open === '' ? [] : [[runc, open]];
    assert.deepEqual(
      warned.map((line) => [line['runc'], line['unlessBackported']]),
      expected,
    );
  });

  it('gvisor.toml starts a worker as it says', { skip: gvisorSkip }, async (t) => {
    const { log, lines } = keepLines();
    const isolation = await isolationOn(daemon.socket, t, 'gvisor.toml', { log });
    assert.match(isolation, /^docker: runsc of .*gVisor's kernel/);
    assert.ok(lines.some(({ why }) => /"runsc" has --ignore-cgroups/.test(String(why))));
    await assert.rejects(isolationOn(daemon.socket, t, 'gvisor.toml', { memoryMax: '256MiB' }), {
      message: /executor.memory_max would not be kept: .*"runsc" has --ignore-cgroups/,
    });
  });

  it('DK-05: removes the containers that it left when it was killed, and no others', async (t) => {
    for (const [name, label] of [
      ['left', 'one'],
      ['other', 'two'],
    ] as const) {
      const args = `run -d --name ${name} --label expbuild.worker=${label} --network none`;
      daemon.docker(...args.split(' '), 'busybox:test', 'sleep', '600');
    }
    const args = 'create --name made --label expbuild.worker=one busybox:test x';
    daemon.docker(...args.split(' '));
    await isolationOf(t, 'docker.toml');
    assert.deepEqual(daemon.containers(), ['other']);
    daemon.docker('rm', '-f', 'other');
  });

  it('DK-05, WK-05: containers of a worker that is killed are gone soon, and so is what watched over them', async () => {
    const script = `
      import { newId } from ${inSource('base/id.ts')};
      import { launcherCommand } from ${inSource('cli/launcher-command.ts')};
      import { startContainerWatchdog } from ${inSource('executor/container-watchdog.ts')};
      import { DockerEngine } from ${inSource('executor/docker-engine.ts')};
      const engine = new DockerEngine('${daemon.socket}');
      startContainerWatchdog(launcherCommand('container-watchdog'), engine.socket, 'boot=1');
      for (const at of [1, 2, 3, 4, 5]) {
        const body = { Image: 'busybox:test', Cmd: ['sleep', '600'], Labels: { boot: '1' } };
        await engine.create({ ...body, name: 'killed-' + at, NetworkDisabled: true });
        if (at > 2) await engine.start('killed-' + at);
      }
      console.log('ready');
      setInterval(() => {}, 1_000);`;
    const worker = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(worker.stdout, 'data');
    assert.equal(daemon.containers().length, 5);
    worker.kill('SIGKILL');
    while (daemon.containers().length > 0) await wait(50);
    while (processesNaming(daemon.socket).length > 0) await wait(50);
  });

  for (const [id, flaw, changes, message] of [
    [
      'DK-14',
      'a runtime the daemon does not know',
      { runtime: 'runsd' },
      /knows no runtime "runsd"; it knows .*runc/,
    ],
    [
      'DK-07',
      'an image that is not there',
      { image: 'absent:1' },
      /image absent:1 is not on the worker's machine/,
    ],
    [
      'DK-07',
      'an image without a digest where one is needed',
      { require_digest: 'true' },
      /busybox:test" must be named by its digest/,
    ],
    [
      'DK-12',
      'a daemon that is not there',
      { socket: '/nowhere/docker.sock' },
      /the Docker daemon at \/nowhere\/docker.sock does not answer/,
    ],
  ] as const) {
    it(`${id}: does not start with ${flaw}, and says so`, async (t) => {
      await assert.rejects(isolationOf(t, 'docker.toml', changes), {
        name: 'SystemError',
        message,
      });
    });
  }

  it('DK-14: does not take another runtime for gVisor', async (t) => {
    // A runtime of that name which is none.
    await assert.rejects(isolationOf(t, 'gvisor.toml', { runtime: 'runsc-not' }), {
      message: /without: .*gVisor's kernel/,
    });
  });
});

describe('a worker whose Docker daemon remaps users', { timeout: 300_000, skip: remapSkip }, () => {
  it('DK-12: starts, with what containers promise, as root alone', async (t) => {
    const daemon = await startDockerDaemon(inReverse(t), { isRemapping: true });
    daemon.busybox();
    const rootInside = { uid: firstRemapped, gid: firstRemapped };
    assert.deepEqual((await daemon.engine.facts()).rootInside, rootInside);
    assert.match(await isolationOn(daemon.socket, t, 'docker.toml'), /not root, no capabilities/);
    await assert.rejects(isolationOn(daemon.socket, t, 'docker.toml', { uid: 1_000 }), {
      message: /remaps users.*must be root/,
    });
  });
});

describe('a worker that uses Podman', { timeout: 300_000, skip: podmanSkip }, () => {
  it('DK-12: is started by docker.toml, and says so', async (t) => {
    const podman = await startPodman(inReverse(t));
    podman.busybox();
    const isolation = await isolationOn(podman.socket, t, 'docker.toml');
    assert.match(isolation, /^docker: runc of Podman \d.*, busybox:test .*no network/);
    assert.deepEqual(podman.containers(), []);
  });
});
