import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Code } from '../../src/base/status.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import type { Digest } from '../../src/digest/digest.ts';
import {
  type Action,
  ActionResult,
  type Command,
  type DeepPartial,
  type Directory,
  type ExecuteResponse,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { PreconditionFailure } from '../../src/proto/google/rpc/error_details.ts';
import { blobOf } from '../support/blob-of.ts';
import { never } from '../support/never.ts';
import { putDiamond, putDirectory } from '../support/put-directory.ts';
import { ExecutionRig } from './rig.ts';

const ran = { result: { exitCode: 0, executionMetadata: { worker: 'w' } } };
const absent = (name: string) => blobOf(name).digest;

/** The subjects of the one detail of a response that tells of missing blobs; fails on any other. */
function missingOf({ status }: ExecuteResponse): string[] {
  assert.equal(status?.code, Code.FAILED_PRECONDITION);
  assert.equal(status.details.length, 1);
  const [detail] = status.details;
  assert.equal(detail?.typeUrl, 'type.googleapis.com/google.rpc.PreconditionFailure');
  const { violations } = PreconditionFailure.decode(detail.value);
  assert.ok(violations.every(({ type }) => type === 'MISSING'));
  return violations.map(({ subject }) => subject).toSorted();
}

const subjects = (...digests: Digest[]) => digests.map((digest) => `blobs/${digest}`).toSorted();

describe('an action that can run', () => {
  it('EXE-02, EXE-26: is queued under one name, and its result ends the stream', async (t) => {
    const rig = new ExecutionRig(t);
    const states = rig.start(await rig.putAction())[Symbol.asyncIterator]();
    const first = (await states.next()).value;
    assert.equal(first?.response, undefined);
    rig.serve(t, () => ran);
    let last = first;
    for (let next = await states.next(); !next.done; next = await states.next()) last = next.value;
    assert.equal(last?.name, first?.name);
    assert.equal(last?.response?.result?.executionMetadata?.worker, 'w');
    assert.equal(last?.response?.cachedResult, false);
  });

  it('EXE-06: is another action when it is encoded otherwise', async (t) => {
    const rig = new ExecutionRig(t);
    rig.serve(t, () => ran);
    const plain = await rig.putAction();
    const bytes = rig.blobs.blobs.get(plain.key) ?? Buffer.of();
    // Field 100, which no version of the message has.
    const odd = await rig.blobs.put(Buffer.concat([bytes, Buffer.from('a0060a', 'hex')]), sha256);
    for (const action of [plain, odd, plain, odd]) {
      assert.equal((await rig.end(action)).result?.exitCode, 0);
    }
    assert.deepEqual(rig.leased, [plain.hash, odd.hash]);
  });

  it('DIG-11: needs no upload of an empty input root', async (t) => {
    const rig = new ExecutionRig(t);
    rig.serve(t, () => ran);
    const inputRootDigest = absent('').toMessage();
    assert.ok((await rig.end(await rig.putAction({ inputRootDigest }))).result);
  });

  it('WK-03, EXE-18: runs with its own timeout, or the default', async (t) => {
    const rig = new ExecutionRig(t, { defaultTimeoutMs: 7000 });
    const timeouts: (number | undefined)[] = [];
    rig.serve(t, ({ timeout }) => {
      timeouts.push(timeout?.seconds);
      return ran;
    });
    await rig.end(await rig.putAction());
    await rig.end(await rig.putAction({ timeout: { seconds: 3 } }));
    assert.deepEqual(timeouts, [7, 3]);
  });

  it('EXE-66: has its whole timeout, however long it was queued', async (t) => {
    const rig = new ExecutionRig(t);
    const ending = rig.end(await rig.putAction({ timeout: { seconds: 2 } }));
    while (rig.scheduler.queuedCount === 0) await setImmediate();
    for (let seconds = 0; seconds < 5; seconds += 1) {
      rig.clock.advance(1000);
      await setImmediate();
    }
    assert.equal(rig.scheduler.queuedCount, 1);
    const timeouts: unknown[] = [];
    rig.serve(t, ({ timeout }) => {
      timeouts.push(timeout);
      return ran;
    });
    const { result, status } = await ending;
    assert.deepEqual(timeouts, [{ seconds: 2, nanos: 0 }]);
    assert.equal(status?.code ?? Code.OK, Code.OK);
    assert.equal(result?.exitCode, 0);
  });

  it('RAC-14, ACT-02, EXE-39: that differs in its timeout or salt alone is another action', async (t) => {
    const rig = new ExecutionRig(t);
    rig.serve(t, () => ran);
    for (const action of [{}, { timeout: { seconds: 3 } }, { salt: Buffer.of(0, 255) }]) {
      const digest = await rig.putAction(action);
      assert.equal((await rig.end(digest)).cachedResult, false);
      assert.equal((await rig.end(digest)).cachedResult, true);
    }
    assert.equal(new Set(rig.leased).size, 3);
  });

  it('ACT-28: has a command of more than 10 MiB', async (t) => {
    const rig = new ExecutionRig(t);
    rig.serve(t, () => ran);
    const words = Array.from({ length: 110 }, () => 'x'.repeat(100_000));
    assert.ok((await rig.end(await rig.putAction({}, { arguments: ['true', ...words] }))).result);
  });

  it('EXE-22: can be waited for and cancelled by its name', async (t) => {
    const rig = new ExecutionRig(t);
    const states = rig.start(await rig.putAction())[Symbol.asyncIterator]();
    const first = (await states.next()).value;
    const name = first?.name ?? '';
    await rig.execution.cancel(name, never);
    const ends = [];
    for await (const { response } of rig.execution.wait(name, never)) ends.push(response);
    assert.equal(ends.at(-1)?.status?.code, Code.CANCELLED);
  });
});

describe('EXE-31: a result in the action cache', () => {
  const cachedResult = ActionResult.fromPartial({
    stdoutDigest: absent('out').toMessage(),
    executionMetadata: { worker: 'long ago', queuedTimestamp: { seconds: 7 } },
  });

  async function withCached(t: TestContext) {
    const rig = new ExecutionRig(t);
    rig.serve(t, () => ran);
    const action = await rig.putAction();
    await rig.blobs.put('out', sha256);
    await rig.actions.update(action, cachedResult, never);
    return { rig, action };
  }

  it('RES-29, EXE-57: answers at once, with the metadata of its own execution', async (t) => {
    const { rig, action } = await withCached(t);
    const states = await rig.run(action);
    assert.equal(states.length, 1);
    assert.equal(states[0]?.response?.cachedResult, true);
    assert.deepEqual(
      ActionResult.encode(states[0]?.response?.result ?? ActionResult.fromPartial({})).finish(),
      ActionResult.encode(cachedResult).finish(),
    );
    assert.deepEqual(rig.leased, []);
  });

  it('RAC-05, EXE-32, EXE-34: is passed over on request, and overwritten', async (t) => {
    const { rig, action } = await withCached(t);
    assert.equal((await rig.end(action, { skipCacheLookup: true })).cachedResult, false);
    assert.equal((await rig.end(action)).result?.executionMetadata?.worker, 'w');
    assert.equal(rig.leased.length, 1);
  });

  it('RAC-01, AC-04: is no answer when its outputs are gone', async (t) => {
    const { rig, action } = await withCached(t);
    rig.blobs.blobs.delete(absent('out').key);
    assert.equal((await rig.end(action)).cachedResult, false);
  });

  it('EXE-60, RES-32: has contents in it where they are hinted for', async (t) => {
    const { rig, action } = await withCached(t);
    const plain = await rig.end(action);
    assert.equal(plain.result?.stdoutRaw.length, 0);
    const { result } = await rig.end(action, { inlineStdout: true });
    assert.equal(Buffer.from(result?.stdoutRaw ?? '').toString(), 'out');
  });

  it('EXE-35: is no answer for an action that must not be cached', async (t) => {
    const rig = new ExecutionRig(t);
    rig.serve(t, () => ran);
    const action = await rig.putAction({ doNotCache: true });
    await rig.actions.update(action, ActionResult.fromPartial({}), never);
    assert.equal((await rig.end(action)).cachedResult, false);
  });
});

describe('EXE-04, EXE-13, EXE-51, EXE-52: missing blobs end the operation with MISSING violations', () => {
  it('for the action', async (t) => {
    const rig = new ExecutionRig(t);
    const states = await rig.run(absent('action'));
    assert.ok(states[0]?.name);
    assert.deepEqual(missingOf(states[0].response as ExecuteResponse), subjects(absent('action')));
  });

  it('EXE-53: for the command, directories and files, all at once', async (t) => {
    const rig = new ExecutionRig(t);
    const stored = await rig.blobs.put('stored', sha256);
    const root = await putDirectory(rig.blobs, {
      files: [
        { name: 'stored', digest: stored.toMessage() },
        { name: 'lost', digest: absent('lost').toMessage() },
        { name: 'lost too', digest: absent('lost').toMessage() },
      ],
      directories: [{ name: 'd', digest: absent('directory').toMessage() }],
    });
    const action = await rig.putAction({
      commandDigest: absent('command').toMessage(),
      inputRootDigest: root.toMessage(),
    });
    const expected = subjects(absent('command'), absent('lost'), absent('directory'));
    assert.deepEqual(missingOf(await rig.end(action)), expected);
    rig.blobs.blobs.delete(root.key);
    assert.ok(missingOf(await rig.end(action)).includes(`blobs/${root}`), 'also when it is known');
  });

  it('EXE-53: for what was there and is gone, once it is no longer trusted to be there', async (t) => {
    const rig = new ExecutionRig(t, { inputsTrustedMs: 1000 });
    rig.serve(t, () => ran);
    const file = await rig.blobs.put('file', sha256);
    const below = await putDirectory(rig.blobs, {
      files: [{ name: 'f', digest: file.toMessage() }],
    });
    const rootWith = (name: string) =>
      putDirectory(rig.blobs, { directories: [{ name, digest: below.toMessage() }] });
    const run = async (name: string) => {
      const inputRootDigest = (await rootWith(name)).toMessage();
      return rig.end(await rig.putAction({ inputRootDigest }));
    };
    assert.ok((await run('a')).result);
    rig.blobs.blobs.delete(file.key);
    rig.clock.advance(999);
    assert.ok((await run('b')).result);
    rig.clock.advance(1);
    assert.deepEqual(missingOf(await run('c')), subjects(file));
    rig.blobs.blobs.delete(below.key);
    assert.deepEqual(missingOf(await run('d')), subjects(below, file));
  });

  it('EXE-53: for a thousand at most', async (t) => {
    const rig = new ExecutionRig(t);
    const files = Array.from({ length: 1100 }, (_, index) => ({
      name: `f${index}`,
      digest: absent(`f${index}`).toMessage(),
    }));
    const root = await putDirectory(rig.blobs, { files });
    const action = await rig.putAction({ inputRootDigest: root.toMessage() });
    assert.equal(missingOf(await rig.end(action)).length, 1000);
  });
});

async function assertRefused(rig: ExecutionRig, action: Digest): Promise<void> {
  await assert.rejects(rig.run(action), { name: 'StatusError', code: Code.INVALID_ARGUMENT });
  assert.deepEqual(rig.scheduler.list('main'), []);
}

describe('is refused with INVALID_ARGUMENT before there is an operation:', () => {
  const actions: [string, DeepPartial<Action>][] = [
    ['WK-03, EXE-17: a timeout above the maximum', { timeout: { seconds: 86_401 } }],
    ['WK-03, EXE-17: a negative timeout', { timeout: { seconds: -1 } }],
    ['WK-03, EXE-17: a malformed timeout', { timeout: { seconds: 1, nanos: 1_000_000_000 } }],
    ['WK-03, ACT-27: a timeout of nothing', { timeout: { seconds: 0 } }],
    ['HI-10, DIG-19: an action without a command digest', { commandDigest: undefined }],
    [
      'DIG-12: a command digest of another function',
      { commandDigest: { hash: 'a'.repeat(40), sizeBytes: 1 } },
    ],
    [
      'ACT-07: two OSFamily values',
      {
        platform: { properties: ['linux', 'macos'].map((value) => ({ name: 'OSFamily', value })) },
      },
    ],
  ];
  for (const [what, action] of actions) {
    it(what, async (t) => {
      const rig = new ExecutionRig(t);
      await assertRefused(rig, await rig.putAction(action));
    });
  }

  const commands: [string, DeepPartial<Command>][] = [
    ['WK-21, ACT-09: no arguments', { arguments: [] }],
    ['ACT-09: an empty executable', { arguments: ['', 'x'] }],
    ['HI-13: an argument that no kernel takes', { arguments: ['x', 'a\0b'] }],
    [
      'HI-12: an environment variable that cannot be set',
      { environmentVariables: [{ name: 'A=B' }] },
    ],
    [
      'HI-11: more output paths than any command has',
      { outputPaths: Array.from({ length: 100_000 }, (_, n) => `out/${n}`) },
    ],
    ['HI-11, ACT-16: an absolute output path', { outputPaths: ['/a'] }],
    ['HI-11, ACT-16: an output path with a slash at its end', { outputPaths: ['a/'] }],
    ['HI-11, ACT-17: an output path outside the input root', { outputPaths: ['../x'] }],
    ['ACT-15: an output file outside the input root', { outputFiles: ['../x'] }],
    ['ACT-15: an output directory outside the input root', { outputDirectories: ['../x'] }],
    ['ACT-29: an argument longer than Linux takes', { arguments: ['x', 'é'.repeat(65_536)] }],
    [
      'ACT-29: a variable longer than Linux takes',
      { environmentVariables: [{ name: 'A', value: 'x'.repeat(131_070) }] },
    ],
    ['ACT-29: an output with a name that is too long', { outputPaths: [`a/${'é'.repeat(128)}`] }],
    ['ACT-29: an output with a path that is too long', { outputFiles: ['a/'.repeat(1919) + 'bc'] }],
    ['ACT-29: a working directory that is too long', { workingDirectory: 'dir/../'.repeat(600) }],
    [
      'HI-11: output paths that are too long together, seen from the input root',
      {
        workingDirectory: 'dir/../'.repeat(500),
        outputPaths: Array.from({ length: 49_999 }, (_, n) => `out/${n}`),
      },
    ],
    ['ACT-23: a working directory that is not there', { workingDirectory: 'no/such' }],
    ['ACT-23: a working directory that is a file', { workingDirectory: 'file' }],
    ['ACT-24: a working directory behind a symlink', { workingDirectory: 'link' }],
    ['ACT-24: a working directory outside the input root', { workingDirectory: 'dir/../..' }],
    ['ACT-25: an unknown node property', { outputNodeProperties: ['bogus'] }],
  ];
  for (const [what, command] of commands) {
    it(what, async (t) => {
      const rig = new ExecutionRig(t);
      const file = (await rig.blobs.put('file', sha256)).toMessage();
      const root = await putDirectory(rig.blobs, {
        files: [{ name: 'file', digest: file }],
        directories: [{ name: 'dir', digest: absent('').toMessage() }],
        symlinks: [{ name: 'link', target: 'dir' }],
      });
      const action = { inputRootDigest: root.toMessage() };
      await assertRefused(rig, await rig.putAction(action, command));
    });
  }

  it('HI-10, EXE-05: a digest under which no Action is stored', async (t) => {
    const rig = new ExecutionRig(t);
    await assertRefused(rig, await rig.blobs.put('{"json": "as moon stores it"}', sha256));
    await assertRefused(rig, absent(''));
  });

  it('HI-10, EXE-05: a command that is no Command', async (t) => {
    const rig = new ExecutionRig(t);
    const commandDigest = (await rig.blobs.put('not a command', sha256)).toMessage();
    await assertRefused(rig, await rig.putAction({ commandDigest }));
  });

  it('HI-10, ACT-29: an Action and a Command larger than the limits', async (t) => {
    const small = new ExecutionRig(t, { actionSizeBytesMax: 10 });
    await assertRefused(small, await small.putAction());
    const smaller = new ExecutionRig(t, { commandSizeBytesMax: 3 });
    await assertRefused(smaller, await smaller.putAction());
  });

  it('HI-01, DIR-02: an input root that would leave its folder', async (t) => {
    const rig = new ExecutionRig(t);
    const bad: DeepPartial<Directory> = { symlinks: [{ name: '..', target: 't' }] };
    const inputRootDigest = (await putDirectory(rig.blobs, bad)).toMessage();
    await assertRefused(rig, await rig.putAction({ inputRootDigest }));
  });

  it('HI-05, DIR-16: an input root that stands for 2^20 files', async (t) => {
    const rig = new ExecutionRig(t);
    const inputRootDigest = (await putDiamond(rig.blobs, 20)).toMessage();
    await assertRefused(rig, await rig.putAction({ inputRootDigest }));
  });

  it('DIR-14: a symlink with an absolute target, where they are not allowed', async (t) => {
    const link = { symlinks: [{ name: 'l', target: '/etc/passwd' }] };
    const strict = new ExecutionRig(t, { absoluteSymlinks: 'disallowed' });
    const inputRootDigest = (await putDirectory(strict.blobs, link)).toMessage();
    await assertRefused(strict, await strict.putAction({ inputRootDigest }));
    const lenient = new ExecutionRig(t);
    await putDirectory(lenient.blobs, link);
    lenient.serve(t, () => ran);
    assert.ok((await lenient.end(await lenient.putAction({ inputRootDigest }))).result);
  });
});

describe('is accepted:', () => {
  const commands: [string, DeepPartial<Command>][] = [
    ['ACT-17: an output path that goes up inside the input root', { outputPaths: ['../x', '..'] }],
    ['ACT-20: the whole working directory as output', { outputPaths: [''] }],
    ['ACT-14: old output fields that are ignored', { outputPaths: ['a'], outputFiles: ['/b'] }],
    ['ACT-18: output paths out of order and twice', { outputPaths: ['b', 'a', 'b'] }],
    ['ACT-25: known node properties', { outputNodeProperties: ['mtime', 'unix_mode'] }],
  ];
  for (const [what, command] of commands) {
    it(what, async (t) => {
      const rig = new ExecutionRig(t);
      rig.serve(t, () => ran);
      const root = await putDirectory(rig.blobs, {
        directories: [{ name: 'dir', digest: absent('').toMessage() }],
      });
      const action = { inputRootDigest: root.toMessage() };
      const workingDirectory = 'dir';
      assert.ok(
        (await rig.end(await rig.putAction(action, { workingDirectory, ...command }))).result,
      );
    });
  }
});

describe('ACT-03, ACT-04: the platform is', () => {
  const linux = { properties: [{ name: 'OSFamily', value: 'plan9' }] };
  for (const [what, action, command, isWaiting] of [
    ["the action's", { platform: linux }, {}, true],
    ["the command's where the action has none", {}, { platform: linux }, true],
    ["the action's also when it is empty", { platform: {} }, { platform: linux }, false],
  ] as const) {
    it(what, async (t) => {
      const rig = new ExecutionRig(t);
      rig.serve(t, () => ran);
      const digest = await rig.putAction(action, command);
      const states = rig.start(digest)[Symbol.asyncIterator]();
      const first = (await states.next()).value;
      const { listed } = rig.scheduler.administration.operations({ includeDone: false }, 10);
      const view = listed.find(({ state }) => state.name === first?.name);
      assert.equal(view?.waitingReason?.includes('plan9') ?? false, isWaiting);
      await states.return?.();
    });
  }
});
