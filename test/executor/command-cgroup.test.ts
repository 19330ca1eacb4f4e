import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { CommandCgroup, endLeft } from '../../src/executor/command-cgroup.ts';
import { cgroupSkip, isLeft, ofVersionOne, ofVersionTwo, testCgroup } from '../support/cgroup.ts';
import { executorBench, lineOf, untilDead } from '../support/executor-bench.ts';
import { never } from '../support/never.ts';
import { findSandbox, sandboxOwner, sandboxSkip } from '../support/sandbox.ts';
import { tempDir } from '../support/temp-dir.ts';

const freezers = '/sys/fs/cgroup/freezer';
const freezerSkip =
  process.getuid?.() === 0 && existsSync(freezers)
    ? false
    : 'needs root, and the freezer of cgroups of version 1';

const memoryBytesMax = 64 * 2 ** 20;
/** Fills memory in a child, as compilers do. */
const hog = ['sh', '-c', 'head -c 300000000 /dev/zero | tail; exit $?'] as const;
/** Leaves nothing that would tell whose it is. */
const hidden = (file: string) =>
  `setsid env -i sh -c 'echo $$ > ${file}; trap "" TERM HUP; sleep 1000; sleep 1000' </dev/null >/dev/null 2>&1 &`;

describe('the cgroup of a command', { timeout: 180_000, skip: cgroupSkip }, () => {
  for (const [level, skip] of [
    ['on the host', false],
    ['in the sandbox', sandboxSkip],
  ] as const) {
    const bench = async (t: TestContext, cgroup: ReturnType<typeof testCgroup>) => {
      const sandbox = level === 'on the host' ? undefined : await findSandbox(t);
      return executorBench(t, { sandbox, owner: sandboxOwner, graceMs: 50, cgroup });
    };

    it(
      `WK-26, WRK-22: a command ${level} that takes too much memory is told from others`,
      { skip },
      async (t) => {
        const cgroup = testCgroup({ memoryBytesMax });
        const { run } = await bench(t, cgroup);
        const outcome = await run(hog);
        assert.equal(outcome.kind, 'resource-limit');
        assert.equal(outcome.kind === 'resource-limit' && outcome.exitCode, 137);
        assert.match(
          outcome.kind === 'resource-limit' ? outcome.message : '',
          /^it used more memory than its limit of 64 MiB \(peak 6[34] MiB\)$/,
        );
        assert.ok(!isLeft(cgroup));
        const after = await run(['sh', '-c', 'exit 3']);
        assert.equal(after.kind === 'exited' && after.exitCode, 3);
      },
    );

    it(
      `WK-26: a command ${level} that goes on without a process that took too much memory says so`,
      { skip },
      async (t) => {
        const { run } = await bench(t, testCgroup({ memoryBytesMax }));
        const outcome = await run(['sh', '-c', '(head -c 200000000 /dev/zero | tail) || true']);
        // Version 2 ends them all.
        assert.ok(outcome.kind === 'exited' || outcome.kind === 'resource-limit');
        assert.match(outcome.message ?? '', /^it used more memory than its limit of 64 MiB/);
        const after = await run(['true']);
        assert.equal(after.kind === 'exited' && after.message, undefined);
      },
    );

    it(
      `WK-27: a command ${level} that forks without end meets its limit, and nothing of it is left`,
      { skip },
      async (t) => {
        const cgroup = testCgroup({ processesMax: 60 });
        const { run } = await bench(t, cgroup);
        // Unlike bash, sh ends at the first fork that fails.
        const bomb = '(while :; do sleep 1000 & done) & while :; do sleep 1000 & done';
        const outcome = await run(['sh', '-c', bomb]);
        assert.equal(outcome.kind, 'resource-limit');
        assert.match(
          outcome.kind === 'resource-limit' ? outcome.message : '',
          /limit of 60 processes and threads/,
        );
        assert.ok(!isLeft(cgroup));
      },
    );
  }

  it('WK-01: ends what left the session and hides whose it is, after success', async (t) => {
    const cgroup = testCgroup();
    const { run, inputRoot } = await executorBench(t, { cgroup });
    const outcome = await run([
      'sh',
      '-c',
      `${hidden('id')} while [ ! -s id ]; do sleep 0.01; done`,
    ]);
    assert.equal(outcome.kind, 'exited');
    assert.ok(!isLeft(cgroup));
    await untilDead(readFileSync(path.join(inputRoot, 'id'), 'utf8').trim());
  });

  for (const [how, timeoutMs, cancels] of [
    ['a timeout', 300, false],
    ['being cancelled', 30_000, true],
  ] as const) {
    it(`WK-01: ends what left the session and hides whose it is, after ${how}`, async (t) => {
      const cgroup = testCgroup();
      const { run, inputRoot } = await executorBench(t, { cgroup, graceMs: 50 });
      const cancel = new AbortController();
      const command = ['sh', '-c', `${hidden('id')} while :; do sleep 1; done`] as const;
      const running = run(command, { timeoutMs }, cancel.signal);
      const id = await lineOf(path.join(inputRoot, 'id'));
      if (cancels) {
        cancel.abort();
        await assert.rejects(running, { code: Code.CANCELLED });
      } else {
        assert.equal((await running).kind, 'timed-out');
      }
      assert.ok(!isLeft(cgroup));
      await untilDead(id);
    });
  }

  it('WK-02: what forks faster than it is killed is ended, also without cgroup.kill', async (t) => {
    const cgroup = ofVersionOne(testCgroup({ processesMax: 60 }));
    if (cgroup.places.length === 0) return t.skip('needs cgroups of version 1');
    const { run, stdout, inputRoot } = await executorBench(t, { cgroup, graceMs: 50 });
    const storm = 'trap "" TERM HUP; while :; do (exec setsid sh storm) & done 2>/dev/null';
    writeFileSync(path.join(inputRoot, 'storm'), storm);
    // Once the storm rages there is no process left to sleep in.
    const command = 'sleep 0.5 & sleep=$!; env -i sh storm & wait $sleep; echo said';
    const outcome = await run(['sh', '-c', command], {});
    assert.equal(outcome.kind === 'exited' && outcome.exitCode, 0);
    assert.equal(stdout(), 'said\n');
    assert.ok(!isLeft(cgroup));
    return undefined;
  });

  it('WK-01, WK-02: version 2 without controllers ends all at once, by cgroup.kill', async (t) => {
    const cgroup = ofVersionTwo(testCgroup());
    const [place] = cgroup.places;
    const made = CommandCgroup.make(cgroup);
    const canKill = place && existsSync(path.join(place.folder, 'cgroup.kill'));
    made.remove();
    if (canKill !== true) {
      return t.skip('needs cgroups of version 2 on Linux 5.14 or newer');
    }
    if (!sandboxOwner) return t.skip('needs root for a user whose processes can be limited');
    // Of no other test: the limit counts all processes of a user.
    const owner = { uid: 59_200, gid: 59_200 };
    const { run, stdout, inputRoot } = await executorBench(t, {
      cgroup,
      graceMs: 50,
      owner,
      resourceLimits: ['--nproc=100'],
    });
    writeFileSync(
      path.join(inputRoot, 'storm'),
      'trap "" TERM HUP; while :; do (exec setsid sh storm) & done 2>/dev/null',
    );
    const storms = 'sleep 0.5 & sleep=$!; env -i sh storm & wait $sleep; echo said';
    const command = `${hidden('id')} until [ -s id ]; do sleep 0.01; done; ${storms}`;
    assert.equal((await run(['sh', '-c', command])).kind, 'exited');
    assert.equal(stdout(), 'said\n');
    assert.ok(!isLeft(cgroup));
    await untilDead(readFileSync(path.join(inputRoot, 'id'), 'utf8').trim());
    return undefined;
  });

  it('WK-28: ends what hides when the launcher is killed', async (t) => {
    const cgroup = testCgroup();
    const { run, inputRoot } = await executorBench(t, { cgroup });
    const running = run(['sh', '-c', `echo $PPID > launcher; ${hidden('id')} sleep 1000`]);
    const id = await lineOf(path.join(inputRoot, 'id'));
    process.kill(Number(await lineOf(path.join(inputRoot, 'launcher'))), 'SIGKILL');
    await assert.rejects(running, { code: Code.INTERNAL });
    assert.ok(!isLeft(cgroup));
    await untilDead(id);
  });

  it('WK-05: what an earlier worker left is ended and removed before the first command', async (t) => {
    const cgroup = testCgroup();
    const { run, inputRoot } = await executorBench(t, { cgroup });
    const running = run(['sh', '-c', `${hidden('id')} sleep 1000`]);
    const id = await lineOf(path.join(inputRoot, 'id'));
    await endLeft(cgroup, never);
    assert.ok(!isLeft(cgroup));
    await untilDead(id);
    assert.equal((await running).kind, 'killed');
  });

  it(
    'WK-04: what cannot be killed is an error, and is ended once it can be',
    { skip: freezerSkip },
    async (t) => {
      const { run, executor, inputRoot } = await executorBench(t);
      const freezer = path.join(freezers, `expbuild-test-${process.pid}`);
      mkdirSync(freezer);
      const running = run([
        'sh',
        '-c',
        'setsid sleep 1000 & echo $! > id; until [ -e go ]; do sleep 0.01; done',
      ]);
      const id = await lineOf(path.join(inputRoot, 'id'));
      // Who is frozen does not even get SIGKILL, as who waits for a broken disk.
      writeFileSync(path.join(freezer, 'cgroup.procs'), id);
      const state = path.join(freezer, 'freezer.state');
      writeFileSync(state, 'FROZEN');
      writeFileSync(path.join(inputRoot, 'go'), '');
      t.after(() => {
        writeFileSync(state, 'THAWED');
        rmdirSync(freezer);
      });
      await assert.rejects(running, { code: Code.INTERNAL, message: /did not end within 5000 ms/ });
      const cleaning = executor.clean();
      writeFileSync(state, 'THAWED');
      await cleaning;
      await untilDead(id);
    },
  );
});

describe('the settings of a cgroup of version 2', () => {
  it('limit memory without swap, processes and time', (t) => {
    const folder = path.join(tempDir(t), 'slot-0');
    mkdirSync(folder);
    for (const name of ['memory.swap.max', 'memory.oom.group']) {
      writeFileSync(path.join(folder, name), 'max');
    }
    const controllers = ['memory', 'pids', 'cpu'];
    const places = [{ version: 2, controllers, folder, home: folder } as const];
    const limits = { memoryBytesMax, processesMax: 7, cpusMax: 2 };
    const cgroup = CommandCgroup.make({ places, limits });
    const read = (name: string) => readFileSync(path.join(folder, name), 'utf8');
    assert.equal(read('memory.max'), String(memoryBytesMax));
    assert.equal(read('memory.swap.max'), '0');
    assert.equal(read('memory.oom.group'), '1');
    assert.equal(read('pids.max'), '7');
    assert.equal(read('cpu.max'), '200000 100000');
    assert.equal(cgroup.exceeded(), undefined);
    writeFileSync(
      path.join(folder, 'memory.events'),
      'low 0\noom 1\noom_kill 2\noom_group_kill 1\n',
    );
    writeFileSync(path.join(folder, 'memory.peak'), `${memoryBytesMax}\n`);
    assert.match(cgroup.exceeded()?.message ?? '', /limit of 64 MiB \(peak 64 MiB\)/);
  });
});
