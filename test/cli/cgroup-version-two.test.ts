import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import path from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { processesNaming } from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';

/** Sees cgroups of version 2 alone, whatever the machine has; others are not told. */
const versionTwoAlone = [
  'unshare',
  '--mount',
  'sh',
  '-c',
  `set -e; for at in $(tac /proc/self/mounts | cut -d ' ' -f 2 | grep '^/sys/fs/cgroup'); do umount -l $at; done
  mount -t cgroup2 none /sys/fs/cgroup; exec "$@"`,
  'sh',
] as const;
const [program, ...args] = versionTwoAlone;
const skip =
  process.getuid?.() === 0 && spawnSync(program, [...args, 'true']).status === 0
    ? false
    : 'needs root and the right to mount cgroups of version 2';

const source = (file: string) => JSON.stringify(path.resolve(import.meta.dirname, '../..', file));
/** A number of seconds that no other test sleeps. */
const mark = String(1_000_000 + process.pid);
/** Starts a worker's executor, runs a command that leaves one that hides, and tells what it saw. */
const script = `
  import { mkdirSync, writeFileSync } from 'node:fs';
  import { silentLog } from ${source('src/base/log.ts')};
  import { startExecutors } from ${source('src/cli/start-executors.ts')};
  import { readWorkerConfig } from ${source('src/config/worker-config.ts')};
  import { findCgroupParents } from ${source('src/executor/find-cgroups.ts')};
  import { testSurroundings } from ${source('test/support/test-surroundings.ts')};
  const [folder, text, mark] = process.argv.slice(1);
  const surroundings = { ...testSurroundings(folder), environment: {} };
  const config = readWorkerConfig({ file: { path: 'w', text }, environment: {}, flags: [] }, surroundings, folder);
  mkdirSync(config.rootPath);
  await using closing = new AsyncDisposableStack();
  const tell = (told) => process.stdout.write(JSON.stringify(told));
  try {
    const worker = { workerId: 'one', newId: () => 'one' };
    const { executors, isolation } = await startExecutors(config, worker, surroundings, silentLog, closing);
    const hidden = "setsid env -i sh -c 'trap \\"\\" TERM HUP; sleep " + mark + "; sleep " + mark + "' </dev/null >/dev/null 2>&1 &";
    const storm = 'while :; do (exec sleep 0.01) & done 2>/dev/null &';
    const [executor] = executors;
    const outcome = await executor.run({
      argv: ['sh', '-c', hidden + hidden + storm + 'sleep 0.2; grep ^0:: /proc/self/cgroup'], environment: {},
      workingDirectory: folder, folder, temporary: folder, stdoutPath: folder + '/1', stderrPath: folder + '/2',
      timeoutMs: 60_000, network: false, memoryBytesMax: undefined,
    }, folder, new AbortController().signal);
    tell({ isolation, kind: outcome.kind, parents: findCgroupParents() });
  } catch (error) {
    tell({ name: error.name, message: error.message });
  }`;

const start = async (folder: string, executor: string) => {
  const toml = `slots = 1\n[executor]\ntype = "host"\nprocesses_max = 100\n${executor}`;
  const node = [process.execPath, '--input-type=module', '-e', script, folder, toml, mark];
  const { stdout } = await promisify(execFile)(program, [...args, ...node], { timeout: 100_000 });
  return JSON.parse(stdout) as Record<string, unknown>;
};

describe('a worker that sees cgroups of version 2 alone', { timeout: 300_000, skip }, () => {
  for (const [key, value, controller] of [
    ['memory_max', '"1GiB"', 'memory'],
    ['cpus_max', '1', 'cpu'],
  ] as const) {
    it(`DK-16: does not start with ${key} where there is no controller for it`, async (t) => {
      const told = await start(tempDir(t), `${key} = ${value}`);
      assert.equal(told['name'], 'SystemError', JSON.stringify(told));
      const expected = `executor.${key} cannot be kept: this process may not make cgroups with the controller "${controller}"`;
      assert.match(String(told['message']), new RegExp(`^${expected}`));
    });
  }

  it('WK-01, WK-02: ends all of a command there, also what hides and forks', async (t) => {
    const { isolation, kind, parents } = await start(tempDir(t), '');
    assert.equal(kind, 'exited');
    assert.deepEqual(processesNaming(mark), []);
    assert.match(String(isolation), /; cgroup without limits$/);
    assert.deepEqual(
      (parents as { version: number; controllers: string[] }[]).map((one) => [
        one.version,
        one.controllers,
      ]),
      [[2, []]],
    );
  });
});
