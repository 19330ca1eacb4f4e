import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { after, describe, it, type TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { Code } from '../../src/base/status.ts';
import { claimUsers } from '../../src/executor/claim-users.ts';
import { type CgroupRequest, endLeft } from '../../src/executor/command-cgroup.ts';
import { endStrays } from '../../src/executor/end-strays.ts';
import { removeAllOf } from '../../src/executor/user-belongings.ts';
import { adversary, leftOn, openFolder } from '../support/adversary.ts';
import { levelBench, levels } from '../support/adversary-bench.ts';
import { isLeft } from '../support/cgroup.ts';
import { executorBench } from '../support/executor-bench.ts';
import { inReverse } from '../support/in-reverse.ts';
import { never } from '../support/never.ts';
import { processesNaming } from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';

const skip =
  process.getuid?.() === 0
    ? !existsSync('/usr/bin/perl') && 'needs perl, which makes all that could be left'
    : 'needs root to run commands as users of their own';
const workerFile = path.resolve(import.meta.dirname, '../support/adversary-worker.ts');
const launcherFile = path.resolve(import.meta.dirname, '../support/launcher.ts');

// A user of no other test, so that all that is the user's is of this one.
const closing = new AsyncDisposableStack();
const [user] = skip === false ? await claimUsers(58_000, 1, false, closing) : [];
const uid = user?.uid ?? 0;
const owner = { uid, gid: uid, isPrivate: true };
after(() => closing.disposeAsync());

let made = 0;
const nextMark = () => `expbuild-mark-${process.pid}-${++made}`;

/** The launcher of a process that has one. */
function launcherOf(worker: number): number {
  const found = processesNaming(launcherFile).find((id) => {
    try {
      return readFileSync(`/proc/${id}/status`, 'utf8').includes(`\nPPid:\t${worker}\n`);
    } catch {
      // That of another test, which has ended since.
      return false;
    }
  });
  return Number(found);
}

/** Polls: what ends it is another process. */
async function untilGone(mark: string, cgroup: CgroupRequest | undefined): Promise<void> {
  const isGone = () => leftOn(uid, mark).length === 0 && (!cgroup || !isLeft(cgroup));
  const endAt = Date.now() + 60_000;
  while (!isGone() && Date.now() < endAt) await wait(20);
  assertGone(mark, cgroup);
}

function assertGone(mark: string, cgroup: CgroupRequest | undefined): void {
  assert.deepEqual(leftOn(uid, mark), []);
  assert.ok(!cgroup || !isLeft(cgroup));
}

describe('of a command that leaves all it can', { timeout: 400_000, skip }, () => {
  for (const [index, level] of levels.entries()) {
    const startWorker = async (t: TestContext, mark: string) => {
      const args = [workerFile, String(index), String(uid), mark];
      // One that is killed removes nothing of its own.
      const env = { ...process.env, TMPDIR: tempDir(t) };
      const worker = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'], env });
      const [line] = (await once(worker.stdout, 'data')) as [Buffer];
      const told = JSON.parse(line.toString().split('\n')[0] ?? '') as {
        folder: string;
        cgroup?: CgroupRequest;
      };
      return { worker, ...told };
    };

    it(
      `WK-01, WK-02, WK-28: nothing is left ${level.name}, however it ends, and what it said is kept`,
      { skip: level.skip },
      async (t) => {
        const bench = await levelBench(t, level, uid);
        const { run, executor, inputRoot, ready, stdout, stderr, cgroup, isRestricted } = bench;
        const assertSaid = () => {
          assert.match(stdout(), /^shm left\nsem left\nmsg left\n/);
          assert.match(
            stdout(),
            /\n\/dev\/shm left\n(?:.*\n)*socket left\nabstract left\nready\n$/,
          );
          if (level.isSandboxed || isRestricted) assert.match(stdout(), /\nkey refused\n/);
        };
        for (const [kind, ending] of [
          ['exited', 'success'],
          ['exited', 'failure'],
          ['timed-out', 'waiting'],
          ...(level.isCounted ? [['resource-limit', 'memory'] as const] : []),
        ] as const) {
          const mark = nextMark();
          if (level.isSandboxed || isRestricted) openFolder(t, mark);
          const timeoutMs = ending === 'waiting' ? 4_000 : 60_000;
          const outcome = await run(adversary(inputRoot, mark, ending), { timeoutMs });
          assertGone(mark, cgroup);
          assert.equal(outcome.kind, kind, stderr());
          assertSaid();
        }
        for (const [end, code] of [
          [(cancel: AbortController) => cancel.abort(), Code.CANCELLED],
          [() => process.kill(launcherOf(process.pid), 'SIGKILL'), Code.INTERNAL],
        ] as const) {
          const cancel = new AbortController();
          const mark = nextMark();
          if (level.isSandboxed || isRestricted) openFolder(t, mark);
          const running = run(adversary(inputRoot, mark, 'waiting'), {}, cancel.signal);
          await ready();
          end(cancel);
          await assert.rejects(running, { code });
          await executor.clean();
          await untilGone(mark, cgroup);
          assertSaid();
        }
      },
    );

    it(
      `WK-05: nothing is left ${level.name} when the worker was killed`,
      { skip: level.skip },
      async (t) => {
        const mark = nextMark();
        const { worker, cgroup } = await startWorker(t, mark);
        worker.kill('SIGKILL');
        await untilGone(mark, cgroup);
      },
    );

    it(
      `WK-05: nothing is left ${level.name} once a worker starts after one that was killed with its launcher`,
      { skip: level.skip },
      async (t) => {
        const mark = nextMark();
        const { worker, folder, cgroup } = await startWorker(t, mark);
        const launcher = launcherOf(worker.pid ?? 0);
        // Neither sees the end of the other.
        worker.kill('SIGSTOP');
        process.kill(launcher, 'SIGKILL');
        worker.kill('SIGKILL');
        await endStrays([folder]);
        await removeAllOf(owner);
        if (cgroup) await endLeft(cgroup, never);
        await untilGone(mark, cgroup);
      },
    );
  }

  it('message queues are removed where the machine shows them', async (context) => {
    const t = inReverse(context);
    const queues = path.join(tempDir(t), 'queues');
    mkdirSync(queues);
    if (spawnSync('mount', ['-t', 'mqueue', 'none', queues]).status !== 0) {
      return context.skip('cannot mount message queues here');
    }
    t.after(() => execFileSync('umount', [queues]));
    const { run, inputRoot, stdout } = await executorBench(t, { owner });
    const mark = nextMark();
    await run(adversary(inputRoot, mark, 'success'));
    assert.match(stdout(), /\nmq left\n/);
    assert.deepEqual(leftOn(uid, mark), []);
  });
});
