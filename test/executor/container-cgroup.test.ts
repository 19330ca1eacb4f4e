import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { ContainerCgroups, ContainerMeter, usedIn } from '../../src/executor/container-cgroup.ts';
import { findCgroupsOf } from '../../src/executor/find-cgroups.ts';
import { tempDir } from '../support/temp-dir.ts';

/** Files of a cgroup, as the kernel writes them. */
function cgroupWith(t: TestContext, version: 1 | 2, files: Readonly<Record<string, string>>) {
  const folder = path.join(tempDir(t), 'docker', 'a1b2');
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(path.join(folder, name), text);
  const controllers = version === 1 ? ['cpuacct', 'memory', 'pids'] : ['memory', 'pids'];
  return { version, controllers, folder };
}

const unmeasured = {
  userTimeMs: undefined,
  systemTimeMs: undefined,
  memoryPeakBytes: undefined,
  oomKills: 0,
  refusedForks: 0,
};

describe('the cgroup of a container', () => {
  for (const [version, files] of [
    [
      1,
      {
        'cpuacct.usage_user': '1500000000\n',
        'cpuacct.usage_sys': '250000000\n',
        'memory.oom_control': 'oom_kill_disable 0\nunder_oom 0\noom_kill 2\n',
        'memory.max_usage_in_bytes': '4096\n',
        'pids.events': 'max 3\n',
      },
    ],
    [
      2,
      {
        'cpu.stat': 'usage_usec 1750000\nuser_usec 1500000\nsystem_usec 250000\n',
        'memory.events': 'max 9\noom 2\noom_kill 2\n',
        'memory.peak': '4096\n',
        'pids.events': 'max 3\n',
      },
    ],
  ] as const) {
    it(`of version ${version} tells what its processes used`, (t) => {
      const cpu = { userTimeMs: 1_500, systemTimeMs: 250 };
      const used = { ...cpu, memoryPeakBytes: 4_096, oomKills: 2, refusedForks: 3 };
      assert.deepEqual(usedIn([cgroupWith(t, version, files)]), used);
    });
  }

  it('tells nothing that the kernel does not count', (t) => {
    assert.deepEqual(usedIn([]), unmeasured);
    assert.deepEqual(usedIn([cgroupWith(t, 2, {})]), unmeasured);
    const odd = { 'cpu.stat': 'nonsense', 'memory.peak': 'max', 'pids.events': '' };
    assert.deepEqual(usedIn([cgroupWith(t, 2, odd)]), unmeasured);
  });

  it('is remembered as it was seen last, when it is gone', async (t) => {
    const cgroup = cgroupWith(t, 2, { 'cpu.stat': 'user_usec 5000\nsystem_usec 1000\n' });
    const meter = new ContainerMeter();
    const over = new AbortController();
    const watching = meter.watch([cgroup], over.signal);
    rmSync(cgroup.folder, { recursive: true });
    meter.look();
    over.abort();
    await watching;
    assert.deepEqual(meter.use, { ...unmeasured, userTimeMs: 5, systemTimeMs: 1 });
  });

  it("is not looked for where others than the container's processes are counted", async () => {
    assert.ok(Array.isArray(findCgroupsOf(process.pid)));
    const cgroups = new ContainerCgroups();
    assert.deepEqual(await cgroups.find('f'.repeat(64), () => Promise.resolve(process.pid)), []);
    assert.deepEqual(await cgroups.find('f'.repeat(64), () => Promise.resolve(undefined)), []);
    assert.deepEqual(findCgroupsOf(2 ** 30), []);
  });
});
