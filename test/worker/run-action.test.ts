import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { Code, type StatusError } from '../../src/base/status.ts';
import { sha1, sha256 } from '../../src/digest/digest-functions.ts';
import { Digest } from '../../src/digest/digest.ts';
import {
  defaultHostExecutorOptions,
  HostExecutor,
  type HostExecutorOptions,
} from '../../src/executor/host-executor.ts';
import {
  ActionResult,
  type Command,
  type ExecutedActionMetadata,
  type ExecuteResponse,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { POSIXResourceUsage } from '../../src/proto/buildbarn/resourceusage/resourceusage.ts';
import { HeldLease_Phase } from '../../src/proto/expbuild/worker/v1/worker.ts';
import { PreconditionFailure } from '../../src/proto/google/rpc/error_details.ts';
import {
  type ActionEnvironment,
  type LeasedAction,
  runAction,
} from '../../src/worker/run-action.ts';
import { actionEnvironment } from '../support/action-environment.ts';
import { type ActionParts, putAction } from '../support/action-of.ts';
import { cgroupSkip, testCgroup } from '../support/cgroup.ts';
import { launcherCommand, startHostExecutor } from '../support/host-executor.ts';
import { dir } from '../support/input-tree.ts';
import { PlainBlobStore } from '../support/memory-blob-store.ts';
import { never } from '../support/never.ts';
import { tempDir } from '../support/temp-dir.ts';

interface Setup {
  readonly environment?: Partial<ActionEnvironment>;
  readonly executor?: Partial<HostExecutorOptions>;
}

/** Starting a launcher takes longer than most of these tests. */
let shared: HostExecutor;

async function bench(t: TestContext, setup: Setup = {}) {
  const folder = tempDir(t);
  const store = new PlainBlobStore();
  const executor = setup.executor ? await startHostExecutor(t, setup.executor) : shared;
  const environment = await actionEnvironment(folder, setup.environment);
  const phases: HeldLease_Phase[] = [];
  const memoryLimits: number[] = [];
  let runs = 0;
  const run = (action: Digest, changes: Partial<LeasedAction> = {}, signal = never) =>
    runAction(
      {
        instanceName: 'main',
        action,
        timeoutMs: 30_000,
        queuedAt: { seconds: 1_000, nanos: 5 },
        blobs: store,
        executor,
        folder: path.join(folder, `action-${++runs}`),
        ...changes,
      },
      environment,
      {
        phase: (phase) => phases.push(phase),
        streams: () => {},
        memoryLimitMet: (bytes) => memoryLimits.push(bytes),
        inputsLeft: () => {},
      },
      signal,
    );
  const runScript = async (script: string, parts: ActionParts = {}, changes = {}) =>
    run(await putAction(store, script, parts), changes);
  const text = (digest: { hash: string; sizeBytes: number } | undefined) =>
    digest &&
    Buffer.from(store.blobs.get(Digest.fromMessage(sha256, digest, '').key) ?? []).toString();
  const stdout = (response: ExecuteResponse) => text(response.result?.stdoutDigest);
  return { folder, store, run, runScript, text, stdout, phases, memoryLimits };
}

/** The moments of a result, in milliseconds, in the order in which they must be. */
function momentsOf(metadata: ExecutedActionMetadata | undefined): number[] {
  const stamps = [
    metadata?.queuedTimestamp,
    metadata?.workerStartTimestamp,
    metadata?.inputFetchStartTimestamp,
    metadata?.inputFetchCompletedTimestamp,
    metadata?.executionStartTimestamp,
    metadata?.executionCompletedTimestamp,
    metadata?.outputUploadStartTimestamp,
    metadata?.outputUploadCompletedTimestamp,
    metadata?.workerCompletedTimestamp,
  ];
  return stamps.map((stamp) => (stamp ? stamp.seconds * 1_000 + stamp.nanos / 1e6 : Number.NaN));
}

/** A read that never gives a byte. */
async function* stuck(_digest: Digest, _offset: number, signal?: AbortSignal) {
  await new Promise((_, reject) => {
    signal?.addEventListener('abort', () => reject(signal.reason as StatusError));
  });
  yield Buffer.of();
}

describe('running an action', { timeout: 180_000 }, () => {
  before(async () => {
    shared = await HostExecutor.start({
      ...defaultHostExecutorOptions,
      launcherCommand,
      graceMs: 50,
    });
  });
  after(() => shared.close());

  it('WRK-01, WRK-11, WRK-14, RES-24, RES-32: fetches inputs, runs, uploads outputs', async (t) => {
    const { runScript, stdout, text, phases } = await bench(t);
    const response = await runScript('cat in/x; echo error >&2; echo made > out/y', {
      command: { outputPaths: ['out/y'] },
      inputs: dir({ in: dir({ x: 'input' }) }),
    });
    assert.equal(response.status, undefined);
    assert.equal(response.result?.exitCode, 0);
    assert.equal(stdout(response), 'input');
    assert.equal(text(response.result?.stderrDigest), 'error\n');
    assert.equal(text(response.result?.outputFiles[0]?.digest), 'made\n');
    assert.equal(response.result?.stdoutRaw.length, 0);
    assert.equal(response.result?.outputFiles[0]?.contents.length, 0);
    assert.deepEqual(phases, [
      HeldLease_Phase.PHASE_FETCHING,
      HeldLease_Phase.PHASE_RUNNING,
      HeldLease_Phase.PHASE_UPLOADING,
    ]);
  });

  it('RES-26, RES-27, RES-28: tells every moment, in order, and what was used', async (t) => {
    const { runScript } = await bench(t);
    const { result } = await runScript('i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done');
    const metadata = result?.executionMetadata;
    const moments = momentsOf(metadata);
    assert.ok(moments.every((moment, index) => index === 0 || moment >= (moments[index - 1] ?? 0)));
    assert.equal(moments[0], 1_000_000.000005);
    assert.equal(metadata?.worker, 'worker-1');
    assert.ok((metadata?.virtualExecutionDuration?.nanos ?? 0) > 0);
    const [usage] = metadata?.auxiliaryMetadata ?? [];
    assert.equal(usage?.typeUrl, 'type.googleapis.com/buildbarn.resourceusage.POSIXResourceUsage');
    assert.ok((POSIXResourceUsage.decode(usage?.value ?? Buffer.of()).userTime?.nanos ?? 0) > 0);
  });

  it('RES-25: the result of a command that does nothing is no empty message', async (t) => {
    const { runScript } = await bench(t);
    const { result } = await runScript('true');
    assert.ok(result);
    assert.ok(ActionResult.encode(result).finish().length > 0);
    assert.notEqual(result.executionMetadata?.worker ?? '', '');
  });

  it('DIR-06: names that differ in case alone are different files', async (t) => {
    const { runScript, stdout } = await bench(t);
    const inputs = dir({ Foo: 'upper', foo: 'lower', FOO: dir({ x: 'folder' }) });
    const response = await runScript('cat Foo foo FOO/x', { inputs });
    assert.equal(stdout(response), 'upperlowerfolder');
  });

  it('RES-26: an operation that was queued in our future counts as queued now', async (t) => {
    const { run, store } = await bench(t);
    const action = await putAction(store, 'true');
    const { result } = await run(action, { queuedAt: { seconds: 9e9, nanos: 0 } });
    const moments = momentsOf(result?.executionMetadata);
    assert.ok((moments[0] ?? Infinity) <= (moments[1] ?? 0));
  });

  it('WRK-22: a command that takes too much memory fails with 137, and the message says why', async (t) => {
    if (cgroupSkip) return t.skip(cgroupSkip);
    const cgroup = testCgroup({ memoryBytesMax: 64 * 2 ** 20 });
    const { runScript, text, memoryLimits } = await bench(t, { executor: { cgroup } });
    const response = await runScript('echo begun > out; head -c 300000000 /dev/zero | tail', {
      command: { outputPaths: ['out'] },
    });
    assert.equal(response.status, undefined);
    assert.equal(response.result?.exitCode, 137);
    assert.equal(text(response.result?.outputFiles[0]?.digest), 'begun\n');
    assert.match(
      response.message,
      /^the command failed: it used more memory than its limit of 64 MiB \(peak \d+ MiB\)$/,
    );
    assert.deepEqual(memoryLimits, [64 * 2 ** 20], 'another worker may have more');
    return undefined;
  });

  it('WRK-22: a command is held to the memory that its action asks for', async (t) => {
    if (cgroupSkip) return t.skip(cgroupSkip);
    const cgroup = testCgroup();
    const { runScript, memoryLimits } = await bench(t, { executor: { cgroup } });
    const { message, result } = await runScript('head -c 300000000 /dev/zero | tail', {
      command: { platform: { properties: [{ name: 'memory', value: '64MiB' }] } },
    });
    assert.equal(result?.exitCode, 137);
    assert.match(message, /its limit of 64 MiB/);
    assert.deepEqual(memoryLimits, [], 'it would have no more elsewhere');
    return undefined;
  });

  it('WRK-22: a command is held to the processors that its action asks for, and to all without', async (t) => {
    const cgroup = testCgroup();
    if (cgroupSkip) return t.skip(cgroupSkip);
    if (!cgroup.places.some(({ controllers }) => controllers.includes('cpu')))
      return t.skip('needs the right to make cgroups that limit processors');
    const { runScript, stdout } = await bench(t, { executor: { cgroup } });
    const at = '/sys/fs/cgroup';
    const look = `for own in $(cut -d: -f3 /proc/self/cgroup); do
      cat ${at}/cpu$own/cpu.cfs_quota_us ${at}$own/cpu.max; done 2>/dev/null | cut -d ' ' -f 1`;
    for (const [cpu, isHeld] of [
      ['500m', true],
      ['9999', false],
      ['0', false],
      ['x86', false],
    ] as const) {
      const response = await runScript(look, {
        command: { platform: { properties: [{ name: 'cpu', value: cpu }] } },
      });
      const quotas = (stdout(response) ?? '').split('\n');
      assert.equal(quotas.includes('50000'), isHeld, `${cpu}: ${quotas.join()}`);
    }
    return undefined;
  });

  it('WRK-12, RES-23: a failing command is a result, with its outputs', async (t) => {
    const { runScript, text } = await bench(t);
    const command = { outputPaths: ['log'] };
    const failed = await runScript('echo x > log; exit 7', { command });
    assert.equal(failed.status, undefined);
    assert.equal(failed.result?.exitCode, 7);
    assert.equal(text(failed.result?.outputFiles[0]?.digest), 'x\n');
    const killed = await runScript('kill -9 $$');
    assert.equal(killed.result?.exitCode, 137);
    assert.match(killed.message, /SIGKILL/);
  });

  it('EXE-48, EXE-49, EXE-50: a timeout keeps what the command said', async (t) => {
    const { runScript, stdout } = await bench(t);
    const script = 'echo begun; sleep 100';
    const response = await runScript(script, {}, { timeoutMs: 300 });
    assert.equal(response.status?.code, Code.DEADLINE_EXCEEDED);
    assert.equal(response.status?.message, 'execution timeout exceeded');
    assert.equal(stdout(response), 'begun\n');
    assert.match(response.message, /its timeout/);
    assert.ok(!momentsOf(response.result?.executionMetadata).some(Number.isNaN));
  });

  it('WRK-09: too much output is RESOURCE_EXHAUSTED and keeps the beginning', async (t) => {
    const { runScript, stdout } = await bench(t, { executor: { outputBytesMax: 100 } });
    const response = await runScript('yes');
    assert.equal(response.status?.code, Code.RESOURCE_EXHAUSTED);
    assert.equal(stdout(response)?.length, 100);
  });

  it('ACT-12, ACT-13, WRK-19: commands see their variables, the defaults, and a TMPDIR', async (t) => {
    const environment = { variables: { LANG: 'C', A: 'default' } };
    const { runScript, stdout, folder } = await bench(t, { environment });
    const command: Partial<Command> = {
      arguments: ['sh', '-c', 'env; touch "$TMPDIR/x" && echo writable'],
      environmentVariables: [{ name: 'A', value: 'own' }],
    };
    const lines = stdout(await runScript('', { command }))
      ?.trim()
      .split('\n')
      .toSorted();
    assert.deepEqual(
      lines?.filter((line) => !/^(PWD|OLDPWD|_|SHLVL)=/.test(line)),
      [
        'A=own',
        'LANG=C',
        'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        `TMPDIR=${folder}/action-1/tmp`,
        'writable',
      ],
    );
  });

  it('ACT-22, ACT-23: runs in its working directory, with the parents of its outputs', async (t) => {
    const { runScript, stdout } = await bench(t);
    const inputs = dir({ w: dir({}) });
    const command = { workingDirectory: 'w', outputPaths: ['o/x/y', '../z/f'] };
    const script = 'basename "$PWD"; test -d o/x && test ! -e o/x/y && test -d ../z && echo yes';
    const response = await runScript(script, { command, inputs });
    assert.equal(stdout(response), 'w\nyes\n');
  });

  for (const [what, command] of [
    [
      'WK-22, ACT-23: a working directory that is not there',
      { workingDirectory: 'o', outputPaths: ['o/x'] },
    ],
    ['WK-22, ACT-24: a working directory outside', { workingDirectory: '..' }],
    ['WK-22, ACT-24: an absolute working directory', { workingDirectory: '/tmp' }],
    ['WK-22: a working directory that is a file', { workingDirectory: 'file' }],
    ['WK-22: a working directory behind a link that leads out', { workingDirectory: 'out' }],
    ['ACT-17: an output outside', { outputPaths: ['../x'] }],
    ['ACT-11: a program that is not there', { arguments: ['./nope'] }],
    ['ACT-09: no arguments', { arguments: [] }],
    ['ACT-25: an unknown node property', { outputNodeProperties: ['bogus'] }],
  ] as const) {
    it(`${what} is INVALID_ARGUMENT`, async (t) => {
      const { runScript } = await bench(t);
      const inputs = dir({ file: 'x', out: { link: '/tmp' } });
      const response = await runScript('true', { command: command as never, inputs });
      assert.equal(response.status?.code, Code.INVALID_ARGUMENT);
      assert.ok(response.message.length > 0);
    });
  }

  it('RES-10: what the command said is kept when its outputs are of the wrong kind', async (t) => {
    const { runScript, stdout } = await bench(t);
    const response = await runScript('echo hm; mkdir d', { command: { outputFiles: ['d'] } });
    assert.equal(response.status?.code, Code.FAILED_PRECONDITION);
    assert.equal(stdout(response), 'hm\n');
  });

  it('GEN-09: outputs that would make a result larger than clients take are refused', async (t) => {
    const { runScript, stdout } = await bench(t);
    const outputPaths = Array.from({ length: 500 }, (_, i) => `link-${i}`);
    const target = 'x/'.repeat(2_000);
    const script = `echo said; for link in ${outputPaths.join(' ')}; do ln -s ${target} $link; done`;
    const response = await runScript(script, { command: { outputPaths } });
    assert.equal(response.status?.code, Code.INVALID_ARGUMENT);
    assert.match(
      response.status.message,
      /named in 4\d+ bytes, more than .*: ask for fewer outputs/,
    );
    assert.equal(stdout(response), 'said\n');
    assert.deepEqual(response.result?.outputSymlinks, []);
  });

  it('WRK-06, EXE-51, EXE-55: missing blobs are FAILED_PRECONDITION, all at once', async (t) => {
    const { run, store } = await bench(t);
    const inputs = dir({ a: 'one', b: dir({ c: 'two' }) });
    const action = await putAction(store, 'true', { inputs });
    for (const content of ['one', 'two'])
      store.blobs.delete((await store.put(content, sha256)).key);
    const response = await run(action);
    assert.equal(response.status?.code, Code.FAILED_PRECONDITION);
    const [detail] = response.status?.details ?? [];
    const { violations } = PreconditionFailure.decode(detail?.value ?? Buffer.of());
    assert.equal(violations.length, 2);
    store.blobs.clear();
    assert.equal((await run(action)).status?.code, Code.FAILED_PRECONDITION);
  });

  it('WRK-03: an input that a command changes is as it was for the next', async (t) => {
    const { runScript, stdout } = await bench(t);
    const inputs = dir({ in: 'good', tool: { content: '#!/bin/sh\necho ok', isExecutable: true } });
    const spoil = 'chmod u+w in tool; echo bad > in; echo bad >> tool; touch -d 1990-01-01 in';
    await runScript(spoil, { inputs });
    assert.equal(stdout(await runScript('cat in; ./tool', { inputs })), 'goodok\n');
  });

  it('WRK-18, CI-19: a command that replaces the files of its output is to blame, not the worker', async (t) => {
    const { runScript } = await bench(t);
    const scripts = [
      'ln -sf /etc/passwd ../stdout',
      'rm ../stderr',
      'rm ../stdout; mkdir ../stdout',
      'rm ../stdout; truncate -s 1T ../stdout',
    ];
    for (const script of scripts) {
      const { status } = await runScript(script);
      assert.equal(status?.code, Code.INVALID_ARGUMENT);
      assert.match(status.message, /removed or replaced/);
    }
  });

  it('WRK-02: an action finds nothing of an earlier one, neither in its folder nor in TMPDIR', async (t) => {
    const { runScript, stdout } = await bench(t);
    const script = 'ls -A . "$TMPDIR"; echo x > left; echo x > "$TMPDIR/left"';
    const first = stdout(await runScript(script));
    assert.doesNotMatch(first ?? '', /left/);
    const again = await runScript(`${script}; exit 1`);
    assert.doesNotMatch(stdout(again) ?? '', /left/);
    assert.doesNotMatch(stdout(await runScript(`: again; ${script}`)) ?? '', /left/);
  });

  it('RES-34: takes linked and sparse files whole, as they were when all that wrote to them was gone', async (t) => {
    const { runScript, text } = await bench(t);
    const command = { outputPaths: ['linked', 'out', 'sparse'] };
    const script =
      '(while :; do echo x >> out; done) & until [ -s out ]; do :; done; ln out linked; truncate -s 99999 sparse';
    const { result, status } = await runScript(script, { command });
    const [linked, out, sparse] = result?.outputFiles.map(({ digest }) => text(digest)) ?? [];
    assert.match(out ?? '', /^(?:x\n)+$/, status?.message ?? '');
    assert.equal(linked, out);
    assert.equal(sparse, '\0'.repeat(99_999));
  });

  it('WRK-13: everything is uploaded under the digest function of the action', async (t) => {
    const { run, store } = await bench(t);
    const parts = { digestFunction: sha1, command: { outputPaths: ['x'] } };
    const { result } = await run(await putAction(store, 'echo hi > x', parts));
    assert.equal(result?.outputFiles[0]?.digest?.hash.length, 40);
    assert.ok(store.blobs.has(Digest.fromMessage(sha1, result?.outputFiles[0]?.digest, '').key));
  });

  it('WRK-18: what goes wrong on this machine is no result', async (t) => {
    const { run, store, folder } = await bench(t);
    const action = await putAction(store, 'true');
    const lost = run(action, { folder: path.join(folder, 'no', 'such', 'place') });
    await assert.rejects(lost, { code: 'ENOENT' });
    store.findMissing = () => Promise.reject(new Error('the store is on fire'));
    await assert.rejects(run(await putAction(store, 'echo x')), /on fire/);
  });

  it('a store that does not answer does not hold the slot for ever', async (t) => {
    const { run, store } = await bench(t, { environment: { fetchTimeoutMs: 20 } });
    const action = await putAction(store, 'true');
    store.read = stuck;
    await assert.rejects(run(action), { code: Code.UNAVAILABLE, message: /fetching the inputs/ });
  });

  it('a cancelled action ends its command', async (t) => {
    const { run, store, folder } = await bench(t);
    const stop = new AbortController();
    const started = path.join(folder, 'started');
    const action = await putAction(store, `echo $$ > ${started}; exec sleep 100`);
    const running = run(action, {}, stop.signal);
    while (!existsSync(started) || !readFileSync(started, 'utf8').endsWith('\n')) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    stop.abort();
    await assert.rejects(running, { name: 'AbortError' });
    assert.ok(!existsSync(`/proc/${readFileSync(started, 'utf8').trim()}`));
  });
});
