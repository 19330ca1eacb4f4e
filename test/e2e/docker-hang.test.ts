import assert from 'node:assert/strict';
import { globSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { becomes } from '../support/appears.ts';
import { type DockerDaemon, dockerSkip, startDockerDaemon } from '../support/docker-daemon.ts';
import { executableSkip } from '../support/executable.ts';
import { Farm } from '../support/farm.ts';
import { inReverse } from '../support/in-reverse.ts';
import { processesNaming } from '../support/processes.ts';

const skip = executableSkip() || dockerSkip;

describe('a worker whose Docker daemon hangs', { skip, timeout: 300_000 }, () => {
  const ending = new AsyncDisposableStack();
  let daemon: DockerDaemon;
  before(async () => {
    daemon = await startDockerDaemon({ after: (end) => ending.defer(end) });
    daemon.busybox();
  });
  after(() => ending.disposeAsync());

  it('DK-05: its actions run on another worker, or there once the daemon is back, and no container is left', async (c) => {
    const farm = await Farm.create(inReverse(c));
    await farm.startServer();
    const executor = `type = "docker"
[executor.docker]
socket = "${daemon.socket}"
image = "busybox:test"
pull = "never"
answer_timeout = "8s"`;
    const one = await farm.startWorker('one', { executor, pool: ['any', 'one'] });
    /** Where a worker runs the script that made a file of this name. */
    const begun = async (worker: string, name: string, last = '') => {
      for (;;) {
        const files = globSync(path.join(farm.root, worker, 'actions/*/root', name));
        const folder = files.map((file) => path.dirname(file)).find((at) => at !== last);
        if (folder !== undefined) return folder;
        await wait(50);
      }
    };
    const mark = String(process.pid * 1_000 + 7);
    const script = (name: string) =>
      `touch ${name}; until [ -e go ]; do sleep 0.1 || sleep ${mark}; done; echo ${name}`;
    const first = farm.run(script('first'));
    const second = farm.run(script('second'), { pool: 'one' });
    const [, hung] = await Promise.all([begun('one', 'first'), begun('one', 'second')]);
    daemon.pause();
    const saidBefore = one.output().length;
    await farm.startWorker('two');
    writeFileSync(path.join(await begun('two', 'first'), 'go'), '');
    const elsewhere = await first;
    assert.equal(elsewhere.stdout, 'first\n', elsewhere.stderr);
    assert.match(elsewhere.stderr, /executed on two/);
    // On a busy machine one may have been handed back before, too.
    await becomes(
      () =>
        one
          .output()
          .slice(saidBefore)
          .match(/could not be run here/g)?.length ?? 0,
      (handedBack) => handedBack >= 2,
    );
    daemon.resume();
    writeFileSync(path.join(await begun('one', 'second', hung), 'go'), '');
    const there = await second;
    assert.equal(there.stdout, 'second\n', there.stderr);
    assert.match(there.stderr, /executed on one/);
    assert.deepEqual(daemon.containers(), []);
    assert.deepEqual(processesNaming(mark), []);
  });
});
