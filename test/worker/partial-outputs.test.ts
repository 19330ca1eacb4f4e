import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import { Digest } from '../../src/digest/digest.ts';
import type { Executor } from '../../src/executor/executor.ts';
import type { Digest as DigestMessage } from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { runAction } from '../../src/worker/run-action.ts';
import { actionEnvironment } from '../support/action-environment.ts';
import { putAction } from '../support/action-of.ts';
import { cgroupSkip, testCgroup } from '../support/cgroup.ts';
import { dockerBench, limits } from '../support/docker-bench.ts';
import {
  type DockerDaemon,
  dockerSkip,
  gvisorSkip,
  startDockerDaemon,
} from '../support/docker-daemon.ts';
import { startHostExecutor } from '../support/host-executor.ts';
import { PlainBlobStore } from '../support/memory-blob-store.ts';
import { never } from '../support/never.ts';
import { findSandbox, sandboxOwner, sandboxSkip } from '../support/sandbox.ts';
import { tempDir } from '../support/temp-dir.ts';

const memoryBytesMax = 64 * 2 ** 20;
let daemon: DockerDaemon | undefined;

const nothing = () => {};

/** A store, and what an executor made of a script in it. */
async function bench(t: TestContext, executor: Executor) {
  const store = new PlainBlobStore();
  const folder = tempDir(t);
  const environment = await actionEnvironment(folder);
  const text = (digest: DigestMessage | undefined) => {
    const { key } = digest ? Digest.fromMessage(sha256, digest, '') : { key: '' };
    return Buffer.from(store.blobs.get(key) ?? []).toString();
  };
  return async (script: string, timeoutMs: number) => {
    const command = { outputPaths: ['log', 'folder', 'none'] };
    const { status, message, result } = await runAction(
      {
        instanceName: 'main',
        action: await putAction(store, script, { command }),
        timeoutMs,
        queuedAt: { seconds: 1_000, nanos: 5 },
        blobs: store,
        executor,
        folder: path.join(folder, 'action'),
      },
      environment,
      { phase: nothing, streams: nothing, memoryLimitMet: nothing, inputsLeft: nothing },
      never,
    );
    return {
      code: status?.code,
      exitCode: result?.exitCode,
      message,
      stdout: text(result?.stdoutDigest),
      stderr: text(result?.stderrDigest),
      files: result?.outputFiles.map((file) => [file.path, text(file.digest)]),
      folders: result?.outputDirectories.map((one) => one.path),
    };
  };
}

const made = 'printf out; printf err >&2; printf part > log; mkdir folder; printf x > folder/x';
const kept = { stdout: 'out', stderr: 'err', files: [['log', 'part']], folders: ['folder'] };

const inContainers = (t: TestContext, runtime: string): Executor => {
  if (!daemon) throw new Error('the test is skipped without a daemon');
  return dockerBench(daemon, t, { runtime, limits: { ...limits, memoryBytesMax } }).executor;
};

/** A shell may remark on the end of what it started. */
function assertKept({
  message,
  stderr,
  ...rest
}: Awaited<ReturnType<Awaited<ReturnType<typeof bench>>>>) {
  const { stderr: said, ...others } = kept;
  assert.deepEqual(rest, { code: undefined, exitCode: 137, ...others }, message);
  assert.ok(stderr.startsWith(said), stderr);
}

// Most of them wait.
describe(
  'what a command said and made until its end is kept',
  { timeout: 240_000, concurrency: 4 },
  () => {
    const closing = new AsyncDisposableStack();
    before(async () => {
      if (dockerSkip !== false) return;
      daemon = await startDockerDaemon({ after: (end) => closing.defer(end) });
      daemon.busybox();
    });
    after(() => closing.disposeAsync());

    for (const [level, skip, memorySkip, executorOf] of [
      [
        'on the host',
        false,
        cgroupSkip,
        (t: TestContext) =>
          startHostExecutor(t, {
            graceMs: 50,
            owner: sandboxOwner,
            ...(cgroupSkip === false ? { cgroup: testCgroup({ memoryBytesMax }) } : {}),
          }),
      ],
      [
        'in the sandbox',
        sandboxSkip,
        cgroupSkip,
        async (t: TestContext) =>
          startHostExecutor(t, {
            graceMs: 50,
            owner: sandboxOwner,
            sandbox: await findSandbox(t),
            ...(cgroupSkip === false ? { cgroup: testCgroup({ memoryBytesMax }) } : {}),
          }),
      ],
      ['in a container', dockerSkip, false, (t: TestContext) => inContainers(t, 'runc')],
      [
        'in a container on gVisor',
        gvisorSkip,
        'gVisor is tested without cgroups, and so without limits',
        (t: TestContext) => inContainers(t, 'runsc'),
      ],
    ] as const) {
      it(`EXE-48, EXE-49: ${level}, when its time is over`, { skip }, async (t) => {
        const run = await bench(t, await executorOf(t));
        const { message, exitCode, ...rest } = await run(`${made}; sleep 1000`, 6_000);
        assert.deepEqual(rest, { code: Code.DEADLINE_EXCEEDED, ...kept });
        assert.match(message, /^the command was ended after [\d.]+ s, its timeout$/);
        assert.equal(exitCode, 143);
      });

      it(`RES-23: ${level}, when it is killed`, { skip }, async (t) => {
        const run = await bench(t, await executorOf(t));
        const ended = await run(`${made}; sh -c 'kill -9 $$'`, 60_000);
        assertKept(ended);
      });

      it(`WK-26: ${level}, when it has no memory left`, { skip: skip || memorySkip }, async (t) => {
        const run = await bench(t, await executorOf(t));
        const hog = 'tail /dev/zero; code=$?; sleep 0.2; exit $code';
        const ended = await run(`${made}; ${hog}`, 60_000);
        assertKept(ended);
        assert.match(
          ended.message,
          /^the command failed: it used more memory than its limit of 64 MiB/,
        );
      });
    }
  },
);

describe('an output of a command that was ended', { timeout: 120_000 }, () => {
  it('EXE-48: hides not how it ended when it is of no kind that can be kept', async (t) => {
    if (!existsSync('/usr/bin/mkfifo')) return t.skip('needs mkfifo');
    const run = await bench(t, await startHostExecutor(t, { graceMs: 50 }));
    const { code, stdout, files } = await run('printf out; mkfifo log; sleep 1000', 3_000);
    assert.deepEqual(
      { code, stdout, files },
      { code: Code.DEADLINE_EXCEEDED, stdout: 'out', files: [] },
    );
    return undefined;
  });
});
