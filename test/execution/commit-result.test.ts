import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { AbsoluteSymlinks } from '../../src/action-cache/absolute-symlinks.ts';
import { Code } from '../../src/base/status.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import {
  type DeepPartial,
  Directory,
  type ExecuteResponse,
  Tree,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { blobOf } from '../support/blob-of.ts';
import { never } from '../support/never.ts';
import { ExecutionRig } from './rig.ts';

const linkTo = (target: string) => Directory.fromPartial({ symlinks: [{ name: 'link', target }] });
const directoryTo = (target: string) => blobOf(Directory.encode(linkTo(target)).finish());
const treeTo = (target: string) => {
  const child = directoryTo(target).digest.toMessage();
  const root = { directories: [{ name: 'below', digest: child }] };
  return blobOf(Tree.encode(Tree.fromPartial({ root, children: [linkTo(target)] })).finish());
};
const directories = { absolute: directoryTo('/etc/passwd'), relative: directoryTo('../etc') };
const trees = { absolute: treeTo('/etc/passwd'), relative: treeTo('../etc/passwd') };

interface Circumstances {
  readonly doNotCache?: boolean;
  readonly absoluteSymlinks?: AbsoluteSymlinks;
}

/** Runs one action to the response a worker gives; how its operation ends, and what is cached. */
async function runTo(
  t: TestContext,
  response: DeepPartial<ExecuteResponse>,
  { doNotCache = false, absoluteSymlinks = 'allowed' }: Circumstances = {},
) {
  const rig = new ExecutionRig(t, { absoluteSymlinks });
  rig.serve(t, () => response);
  const action = await rig.putAction({ doNotCache });
  await rig.blobs.put('stored', sha256);
  for (const { bytes } of Object.values(directories)) await rig.blobs.put(bytes, sha256);
  for (const { bytes } of Object.values(trees)) await rig.blobs.put(bytes, sha256);
  const ended = await rig.end(action);
  return { ended, cached: await rig.actions.find(action, never) };
}

const stored = blobOf('stored').digest.toMessage();
const lost = blobOf('lost').digest.toMessage();

test('EXE-38: a result of a command that exited with 0 is cached when the operation is done', async (t) => {
  const { ended, cached } = await runTo(t, { result: { stdoutDigest: stored } });
  assert.equal(cached?.stdoutDigest?.hash, stored.hash);
  // What is unknown of it is kept in the cache alone.
  assert.partialDeepStrictEqual(cached, ended.result);
});

test('EXE-46, AC-20: a result always has metadata', async (t) => {
  const { ended, cached } = await runTo(t, { result: {} });
  assert.equal(ended.result?.executionMetadata?.worker, 'unknown');
  assert.ok(cached?.executionMetadata);
});

test('RAC-05, EXE-33, EXE-47: a command that failed is an answer, and is not cached', async (t) => {
  const { ended, cached } = await runTo(t, { result: { exitCode: 3, stdoutDigest: stored } });
  assert.equal(ended.result?.exitCode, 3);
  assert.equal(cached, undefined);
});

test('a result to which its worker has something to add is an answer, and is not cached', async (t) => {
  const message =
    'a process of the command was ended: it used more memory than its limit of 64 MiB';
  const { ended, cached } = await runTo(t, { result: { stdoutDigest: stored }, message });
  assert.equal(ended.message, message);
  assert.equal(ended.result?.exitCode, 0);
  assert.equal(cached, undefined);
});

test('RAC-05, EXE-33, EXE-48: an action that did not finish keeps what is known, and is not cached', async (t) => {
  const status = { code: Code.DEADLINE_EXCEEDED, message: 'execution timeout exceeded' };
  const { ended, cached } = await runTo(t, { status, result: { stdoutDigest: lost } });
  assert.equal(ended.status?.message, 'execution timeout exceeded');
  assert.equal(ended.result?.stdoutDigest?.hash, lost.hash);
  assert.equal(cached, undefined);
});

test('RAC-05, EXE-33, EXE-35: an action that must not be cached is not', async (t) => {
  const { ended, cached } = await runTo(t, { result: {} }, { doNotCache: true });
  assert.ok(ended.result);
  assert.equal(cached, undefined);
});

test('RAC-15, EXE-38, AC-14: a result whose outputs are gone is no answer, but can be tried again', async (t) => {
  const { ended, cached } = await runTo(t, {
    result: { outputFiles: [{ path: 'f', digest: lost }] },
  });
  assert.equal(ended.status?.code, Code.UNAVAILABLE);
  assert.equal(ended.result, undefined);
  assert.equal(cached, undefined);
});

test('HI-24, EXE-11, EXE-46: a worker that reports nonsense is our own failure', async (t) => {
  for (const response of [{}, { result: { stdoutDigest: { hash: 'x', sizeBytes: 1 } } }]) {
    const { ended, cached } = await runTo(t, response);
    assert.equal(ended.status?.code, Code.INTERNAL);
    assert.equal(cached, undefined);
  }
});

test('GEN-09: a result that no client takes is refused, and not cached; a little less is handed out', async (t) => {
  const resultOf = (chars: number) =>
    runTo(t, { result: { outputSymlinks: [{ path: 'l', target: 't'.repeat(chars) }] } });
  const refused = await resultOf(4_000_000);
  assert.equal(refused.ended.status?.code, Code.INVALID_ARGUMENT);
  assert.match(refused.ended.status.message, /name fewer outputs, or a directory/);
  assert.deepEqual([refused.ended.result, refused.cached], [undefined, undefined]);
  const taken = await resultOf(3_900_000);
  assert.equal(taken.ended.result?.outputSymlinks.length, 1);
});

for (const [what, output] of [
  ['an output symlink', { outputSymlinks: [{ path: 'l', target: '/etc/passwd' }] }],
  ['an output symlink of an old client', { outputFileSymlinks: [{ path: 'l', target: '/' }] }],
  [
    'a symlink in an output tree',
    { outputDirectories: [{ path: 'd', treeDigest: trees.absolute.digest.toMessage() }] },
  ],
  [
    'a symlink in an output directory',
    {
      outputDirectories: [
        { path: 'd', rootDirectoryDigest: directories.absolute.digest.toMessage() },
      ],
    },
  ],
] as const) {
  test(`RES-21: ${what} with an absolute target is refused where they are not allowed`, async (t) => {
    const result = {
      ...output,
      stdoutDigest: stored,
      outputFiles: [{ path: 'f', digest: stored }],
    };
    const strict = await runTo(t, { result: result as never }, { absoluteSymlinks: 'disallowed' });
    assert.equal(strict.ended.status?.code, Code.FAILED_PRECONDITION);
    assert.match(strict.ended.status.message, /absolute target/);
    assert.equal(strict.ended.result?.stdoutDigest?.hash, stored.hash);
    assert.deepEqual(strict.ended.result.outputFiles, []);
    assert.equal(strict.cached, undefined);
    const lenient = await runTo(t, { result: result as never });
    assert.equal(lenient.ended.status, undefined);
    assert.ok(lenient.cached);
  });
}

test('RES-21: relative symlinks are allowed always', async (t) => {
  const result = {
    outputSymlinks: [{ path: 'l', target: 'a/b' }],
    outputDirectories: [
      { path: 'd', treeDigest: trees.relative.digest.toMessage() },
      { path: 'e', rootDirectoryDigest: directories.relative.digest.toMessage() },
    ],
  };
  const { ended } = await runTo(t, { result }, { absoluteSymlinks: 'disallowed' });
  assert.equal(ended.status, undefined);
  assert.equal(ended.result?.outputDirectories.length, 2);
});

test('RES-21: an output tree that is none is refused where symlinks must be looked at', async (t) => {
  const result = { outputDirectories: [{ path: 'd', treeDigest: stored }] };
  const { ended } = await runTo(t, { result }, { absoluteSymlinks: 'disallowed' });
  assert.equal(ended.status?.code, Code.FAILED_PRECONDITION);
});
