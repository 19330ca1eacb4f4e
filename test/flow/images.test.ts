import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type DockerDaemon, dockerSkip, startDockerDaemon } from '../support/docker-daemon.ts';
import { FakeTerminal } from '../support/fake-terminal.ts';
import { startFleet } from '../support/fleet.ts';

describe('workers with containers', { timeout: 300_000, skip: dockerSkip }, () => {
  const ending = new AsyncDisposableStack();
  let daemon: DockerDaemon;
  before(async () => {
    daemon = await startDockerDaemon({ after: (end) => ending.defer(end) });
    daemon.busybox();
    daemon.busybox('busybox:env');
  });
  after(() => ending.disposeAsync());

  const withImage = (image: string, uid: number, answerTimeout = '1m') => `[executor]
type = "docker"
uid = ${uid}
[executor.docker]
socket = "${daemon.socket}"
image = "${image}"
pull = "never"
answer_timeout = "${answerTimeout}"`;

  it('get the actions that ask for an image of theirs', async (t) => {
    const { cli, worker, joined } = await startFleet(t, '[execution]\nworker_grace = "2s"');
    await worker('host', '[executor]\ntype = "host"');
    await worker('test', withImage('busybox:test', 63_218));
    await worker('env', withImage('busybox:env', 63_228));
    for (const name of ['host', 'test', 'env']) await joined(name);
    const run = (image: string) =>
      cli(['run', '--no-cache', '--platform', `container-image=${image}`, '--', 'true']);
    for (const image of ['test', 'env', 'test', 'env']) {
      const { stderr } = await run(`docker://busybox:${image}`);
      assert.match(stderr, new RegExp(`executed on ${image}`));
    }
    const { stderr } = await run('docker://no/such:image');
    assert.match(stderr, /no worker has container-image=docker:\/\/no\/such:image; workers offer/);
  });

  it('take no more actions while the daemon hangs, and are not said to shut down', async (t) => {
    const { cli, worker } = await startFleet(t);
    await worker('one', withImage('busybox:test', 63_238, '6s'));
    const terminal = new FakeTerminal();
    daemon.pause();
    const hung = cli(['run', '--no-cache', '--', 'true'], { terminal });
    await terminal.shown(/no worker takes it now: the one worker that matches is in trouble/);
    assert.match((await cli(['workers', 'show', 'one'])).stdout, /daemon .* does not answer/);
    daemon.resume();
    const { exitCode, stderr } = await hung;
    assert.equal(exitCode, 0, stderr);
    assert.match(stderr, /executed on one/);
  });
});
