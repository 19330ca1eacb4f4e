import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import type { DockerExecutorOptions } from '../../src/executor/docker-executor.ts';
import { dockerBench as dockerBenchOn, limits } from '../support/docker-bench.ts';
import { type DockerDaemon, dockerSkip, startDockerDaemon } from '../support/docker-daemon.ts';

/** Long enough to be seen, on kernels too that do not tell when a container's processes have ended. */
const busy = 'i=0; while [ $i -lt 1000000 ]; do i=$((i+1)); done';

describe('what a container may use', { timeout: 300_000, skip: dockerSkip }, () => {
  const ending = new AsyncDisposableStack();
  let daemon: DockerDaemon;
  before(async () => {
    daemon = await startDockerDaemon({ after: (end) => ending.defer(end) });
    daemon.busybox();
  });
  after(() => ending.disposeAsync());

  const dockerBench = (t: TestContext, changes?: Partial<DockerExecutorOptions>) =>
    dockerBenchOn(daemon, t, changes);

  it('WK-26: tells that memory was the limit, and which', async (t) => {
    const { run } = dockerBench(t);
    const outcome = await run(['sh', '-c', `tail /dev/zero; code=$?; ${busy}; exit $code`]);
    assert.equal(outcome.kind, 'resource-limit');
    assert.ok(outcome.kind === 'resource-limit');
    assert.equal(outcome.exitCode, 137);
    assert.match(
      outcome.message,
      /^it used more memory than its limit of 64 MiB \(peak 6[34] MiB\)$/,
    );
    assert.equal(outcome.memoryBytesMax, 64 * 2 ** 20, 'another worker may give it more');
  });

  it('WK-26: says so of a command that goes on without a process that took too much memory', async (t) => {
    const { run } = dockerBench(t);
    const outcome = await run(['sh', '-c', `tail /dev/zero; ${busy}; true`]);
    assert.ok(outcome.kind === 'exited');
    assert.equal(outcome.exitCode, 0);
    assert.match(outcome.message ?? '', /limit of 64 MiB/);
  });

  it('WK-26: holds an action to the memory that it asks for, if that is less', async (t) => {
    const { run } = dockerBench(t);
    const outcome = await run(['tail', '/dev/zero'], { memoryBytesMax: 32 * 2 ** 20 });
    assert.match(outcome.kind === 'resource-limit' ? outcome.message : '', /limit of 32 MiB/);
  });

  it('WRK-22: holds an action to the processors that it asks for, if they are fewer', async (t) => {
    const { run, stdout } = dockerBench(t, { limits: { ...limits, cpusMax: 2 } });
    const look = 'cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null';
    for (const [cpusMax, quota] of [
      [undefined, 200_000],
      [0.5, 50_000],
      [64, 200_000],
    ] as const) {
      await run(['sh', '-c', look], { cpusMax });
      assert.equal(Number.parseInt(stdout()), quota);
    }
  });

  it('WK-27: keeps to the number of processes, and tells that it was met', async (t) => {
    const { run, stderr } = dockerBench(t);
    const outcome = await run([
      'sh',
      '-c',
      `(i=0; while [ $i -lt 200 ]; do sleep 5 & i=$((i+1)); done); code=$?; ${busy}; exit $code`,
    ]);
    assert.match(stderr(), /fork/);
    const said = outcome.kind === 'resource-limit' ? outcome.message : outcome.kind;
    assert.equal(said, 'it met its limit of 64 processes and threads');
  });

  it('WK-12: says that a file grew beyond its limit, sparse or not', async (t) => {
    const { run, stderr } = dockerBench(t, { limits: { ...limits, fileBytesMax: 1_000_000 } });
    for (const script of [
      'head -c 2000000 /dev/zero > large; exit $?',
      'exec dd if=/dev/zero of=/tmp/large bs=2000000 count=2',
      'truncate -s 1000G large; exit $?',
    ]) {
      const outcome = await run(['sh', '-c', script]);
      assert.equal(outcome.kind, 'resource-limit', `${script}: ${stderr()}`);
      if (outcome.kind !== 'resource-limit') return;
      assert.equal(outcome.exitCode, 153);
      assert.match(outcome.message, /larger than its limit of 1000000 bytes \(executor.file_max/);
    }
    const fits = await run(['sh', '-c', 'head -c 1000000 /dev/zero > fits; exit 1']);
    assert.equal(fits.kind === 'exited' && fits.exitCode, 1);
  });

  it('RES-28: tells what all processes of a command used', async (t) => {
    const { run } = dockerBench(t);
    const { usage } = await run([
      'sh',
      '-c',
      `head -c 20000000 /dev/zero | tail; (${busy}) & wait`,
    ]);
    assert.ok((usage.userTimeMs ?? 0) + (usage.systemTimeMs ?? 0) > 50, JSON.stringify(usage));
    assert.ok((usage.maxResidentBytes ?? 0) > 20_000_000, JSON.stringify(usage));
    assert.ok((usage.maxResidentBytes ?? 0) < 64_000_000, JSON.stringify(usage));
  });
});
