import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { Code } from '../../src/base/status.ts';
import type { DockerExecutorOptions } from '../../src/executor/docker-executor.ts';
import { DockerImages } from '../../src/executor/docker-images.ts';
import { dockerPromises, provePromises } from '../../src/executor/promises.ts';
import { seccompProfile } from '../../src/executor/seccomp-filter.ts';
import { dockerBench, owner } from '../support/docker-bench.ts';
import { lookAround } from '../support/look-around.ts';
import { never } from '../support/never.ts';
import { podmanSkip, type PodmanService, startPodman } from '../support/podman-service.ts';
import { processesNaming } from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';

describe("a container of Podman's", { timeout: 300_000, skip: podmanSkip }, () => {
  const ending = new AsyncDisposableStack();
  let podman: PodmanService;
  let image: string;
  before(async () => {
    podman = await startPodman({ after: (end) => ending.defer(end) });
    // It says it twice.
    image = podman.busybox().split(': ')[0] ?? '';
  });
  after(() => ending.disposeAsync());

  const bench = (t: TestContext, changes: Partial<DockerExecutorOptions> = {}) => {
    const podmanFilterPath = path.join(tempDir(t), 'seccomp.json');
    writeFileSync(podmanFilterPath, seccompProfile());
    return dockerBench(podman, t, { podmanFilterPath, ...changes });
  };

  it('DK-12: runs a command as its user in its input root, and nothing is left', async (t) => {
    assert.equal((await podman.engine.facts()).isPodman, true);
    const { run, inputRoot, stdout, stderr } = bench(t);
    writeFileSync(path.join(inputRoot, 'in'), 'given\n');
    const script = 'pwd; id -u; cat in; echo out > made; echo err >&2; exit 3';
    const outcome = await run(['sh', '-c', script]);
    assert.equal(outcome.kind === 'exited' && outcome.exitCode, 3);
    assert.equal(stdout(), `/build\n${owner.uid}\ngiven\n`);
    assert.equal(stderr(), 'err\n');
    assert.equal(readFileSync(path.join(inputRoot, 'made'), 'utf8'), 'out\n');
    assert.deepEqual(podman.containers(), []);
  });

  it('DK-12: keeps all that a container promises, as a command inside finds', async (t) => {
    const { executor } = bench(t);
    await provePromises(dockerPromises, executor, lookAround(t), never);
    const { executor: unfiltered } = bench(t, { podmanFilterPath: undefined });
    await assert.rejects(provePromises(dockerPromises, unfiltered, lookAround(t), never), {
      message: /without: no new namespaces$/,
    });
  });

  it("ACT-13: gives it its own environment, none of the image and none of the service's", async (t) => {
    podman.busybox('busybox:env', ['ENV CONTAINERS_CONF=1', 'ENV A=image', 'ENV PATH=/nowhere']);
    const { run, stdout } = bench(t);
    const properties = new Map([['container-image', 'docker://busybox:env']]);
    await run(['env'], { environment: { 'B-b': 'b c', A: '', HOME: '/tmp' }, properties });
    assert.deepEqual(stdout().trim().split('\n').toSorted(), [
      'A=',
      'B-b=b c',
      'HOME=/tmp',
      // Nothing takes it away.
      'HOSTNAME=localhost',
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'TMPDIR=/tmp',
    ]);
  });

  it("ACT-11: refuses what is not there or cannot be run, as the action's own fault", async (t) => {
    const { run, inputRoot } = bench(t);
    writeFileSync(path.join(inputRoot, 'text'), 'no program', { mode: 0o644 });
    for (const name of ['none', '/build/none', './text']) {
      await assert.rejects(run([name]), { code: Code.INVALID_ARGUMENT, message: /cannot run / });
    }
    assert.deepEqual(podman.containers(), []);
  });

  it('DK-07: takes an image by its digest', async (t) => {
    const policy = { image, allowed: [], requiresDigest: true, pull: 'never' } as const;
    const images = new DockerImages(
      podman.engine,
      { ...policy, credentialsPath: undefined },
      'amd64',
    );
    const { run } = bench(t, { images });
    assert.match(image, /^sha256:/);
    assert.equal((await run(['true'])).kind, 'exited');
  });

  it('WK-26, WK-27: tells that memory or the number of processes was the limit', async (t) => {
    const { run } = bench(t);
    const messageOf = async (script: string) => {
      const outcome = await run(['sh', '-c', script]);
      return outcome.kind === 'resource-limit' ? outcome.message : JSON.stringify(outcome);
    };
    // Long enough to be seen.
    const busy = 'code=$?; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; exit $code';
    assert.match(await messageOf(`tail /dev/zero; ${busy}`), /limit of 64 MiB \(peak 6[34] MiB\)$/);
    const forks = '(i=0; while [ $i -lt 200 ]; do sleep 5 & i=$((i+1)); done)';
    assert.equal(
      await messageOf(`${forks}; ${busy}`),
      'it met its limit of 64 processes and threads',
    );
  });

  it('WK-01: ends all processes of a command when its time is over', async (t) => {
    const { run, stdout } = bench(t, { graceMs: 50 });
    const mark = String(process.pid * 1_000 + 9);
    const stubborn = `trap "" TERM HUP; (setsid sh -c 'trap "" TERM; sleep ${mark}; sleep ${mark}' &)`;
    const script = `${stubborn}; echo begun; while :; do sleep 1; done`;
    const outcome = await run(['sh', '-c', script], { timeoutMs: 3_000 });
    assert.equal(outcome.kind, 'timed-out');
    assert.equal(stdout(), 'begun\n');
    assert.deepEqual(processesNaming(mark), []);
    assert.deepEqual(podman.containers(), []);
  });

  it("DK-05: a service that ends is the worker's trouble, and its container is removed when it is back", async (t) => {
    const { executor, run } = bench(t);
    const mark = String(process.pid * 1_000 + 8);
    await run(['sleep', '0.3']);
    const rejected = assert.rejects(run(['sleep', mark]), { code: Code.UNAVAILABLE });
    while (processesNaming(mark).length === 0) {
      await wait(20);
    }
    await podman.end('SIGKILL');
    await rejected;
    await podman.restart();
    await executor.clean();
    assert.deepEqual(processesNaming(mark), []);
    assert.deepEqual(podman.containers(), []);
  });
});
