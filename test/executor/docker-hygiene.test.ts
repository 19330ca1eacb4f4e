import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { adversaryWithPerl, type Ending, leftOn } from '../support/adversary.ts';
import { comesTrue } from '../support/appears.ts';
import { dockerBench } from '../support/docker-bench.ts';
import { type DockerDaemon, dockerSkip, startDockerDaemon } from '../support/docker-daemon.ts';

/** A user of no other test. */
const uid = 59_100;
const skip = dockerSkip || (!existsSync('/usr/bin/perl') && 'needs perl');
let daemon: DockerDaemon;
let made = 0;

/** Where they would be, in all hierarchies. */
const cgroupsOf = (id: string) => globSync(`/sys/fs/cgroup/{*/,}docker/${id}`);

const bench = (t: TestContext, ending: Ending) => {
  const user = { uid, gid: uid };
  const one = dockerBench(daemon, t, { user, graceMs: 50 });
  const mark = `expbuild-mark-docker-${process.pid}-${++made}`;
  return { ...one, mark, argv: adversaryWithPerl(one.inputRoot, mark, ending) };
};

describe('of a command that leaves all it can', { timeout: 300_000, skip }, () => {
  const closing = new AsyncDisposableStack();
  before(async () => {
    daemon = await startDockerDaemon({ after: (end) => closing.defer(end) });
    daemon.busybox();
  });
  after(() => closing.disposeAsync());

  for (const [how, ending, kind] of [
    ['success', 'success', 'exited'],
    ['a failure', 'failure', 'exited'],
    ['a timeout', 'waiting', 'timed-out'],
    ['its end by lack of memory', 'memory', 'resource-limit'],
    ['being cancelled', 'waiting', undefined],
  ] as const) {
    it(`WK-01, WK-02: nothing is left in a container after ${how}, and what it said is kept`, async (t) => {
      const { run, mark, argv, folder, stdout, stderr } = bench(t, ending);
      const cancel = new AbortController();
      const timeoutMs = kind === 'timed-out' ? 6_000 : 60_000;
      const running = run(argv, { timeoutMs }, cancel.signal);
      if (kind === undefined) {
        await comesTrue(
          folder,
          () => existsSync(`${folder}/stdout.1`) && stdout().endsWith('ready\n'),
        );
        const id = daemon.docker('ps', '--quiet', '--no-trunc').trim();
        assert.notDeepEqual(cgroupsOf(id), []);
        cancel.abort();
        await assert.rejects(running, { code: Code.CANCELLED });
        assert.deepEqual(cgroupsOf(id), []);
      } else {
        assert.equal((await running).kind, kind, stdout() + stderr());
      }
      assert.deepEqual(leftOn(uid, mark), []);
      assert.deepEqual(daemon.containers(), []);
      const mounts = readFileSync('/proc/self/mountinfo', 'utf8');
      assert.ok(!mounts.includes(`${path.dirname(daemon.socket)}/data/`), mounts);
      assert.match(stdout(), /^shm left\n(?:.*\n)*socket left\nabstract left\nready\n$/);
      assert.match(stdout(), /\nkey refused\n/);
    });
  }
});
