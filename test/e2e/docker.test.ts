import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { bazelSkip, bazelWorkspace } from '../support/bazel.ts';
import {
  type DockerDaemon,
  dockerSkip,
  gvisorSkip,
  startDockerDaemon,
} from '../support/docker-daemon.ts';
import { executableSkip, startRole } from '../support/executable.ts';
import { inReverse } from '../support/in-reverse.ts';

const skip = executableSkip() || bazelSkip('2.1.0') || dockerSkip;

describe('Bazel, with actions in containers', { skip, timeout: 300_000 }, () => {
  const ending = new AsyncDisposableStack();
  let daemon: DockerDaemon;
  before(async () => {
    daemon = await startDockerDaemon({ after: (end) => ending.defer(end) });
    daemon.compilers();
  });
  after(() => ending.disposeAsync());

  async function builds(context: TestContext, runtime: string): Promise<void> {
    // The worker ends before its server.
    const t = inReverse(context);
    const settings = {
      type: 'docker',
      'docker.socket': daemon.socket,
      'docker.image': 'gcc:test',
      'docker.pull': 'never',
      'docker.runtime': runtime,
    };
    const flags = Object.entries(settings).map(([key, value]) => `--set=executor.${key}=${value}`);
    const argv = ['server', '--verbose', '--address', '127.0.0.1:0'];
    const server = await startRole(t, argv, /serving.*?(127\.0\.0\.1:\d+)/);
    const here = `--set=server_url=${server.found}`;
    const worker = await startRole(
      t,
      ['worker', '--verbose', here, '--slots=2', ...flags],
      /connected/,
    );
    const workspace = bazelWorkspace(t, { bazel: '2.1.0' });
    const result = await workspace.run(
      'test',
      '//:shouted',
      '//:shout_test',
      '//:greeting_test',
      `--remote_executor=grpc://${server.found}`,
      '--spawn_strategy=remote',
      '--remote_local_fallback=false',
      '--remote_default_platform_properties=properties:{name:"container-image" value:"docker://gcc:test"}',
    );
    assert.equal(result.exitCode, 0, `${result.stderr}\n${result.stdout}\n${worker.output()}`);
    assert.deepEqual(Object.keys(result.processes), ['remote']);
    const shouted = path.join(workspace.folder, 'bazel-bin/shouted.txt');
    assert.equal(readFileSync(shouted, 'utf8'), 'HELLO, WORLD!\n');
    assert.deepEqual(daemon.containers(), []);
  }

  it('BZL-01: builds and tests on runc', (t) => builds(t, 'runc'));
  it('BZL-01: builds and tests on gVisor', { skip: gvisorSkip }, (t) => builds(t, 'runsc'));
});
