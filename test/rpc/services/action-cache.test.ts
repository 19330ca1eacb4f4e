import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { withCompleteness } from '../../../src/action-cache/completeness.ts';
import { KnownTrees } from '../../../src/action-cache/known-trees.ts';
import { MemoryActionCache } from '../../../src/action-cache/memory-action-cache.ts';
import { chunksOf, collect } from '../../../src/base/chunks.ts';
import { Code } from '../../../src/base/status.ts';
import { sha1, sha256 } from '../../../src/digest/digest-functions.ts';
import { MemoryBlobs } from '../../../src/cas/memory-blobs.ts';
import { Digest } from '../../../src/digest/digest.ts';
import {
  Action,
  Command,
  Directory,
  GetActionResultRequest,
  RequestMetadata,
  Tree,
} from '../../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import {
  ActionResult,
  UpdateActionResultRequest,
} from '../../../src/proto/whole/build/bazel/remote/execution/v2/remote_execution.ts';
import { type Instance, Instances } from '../../../src/rpc/instances.ts';
import { actionCache } from '../../../src/rpc/services/action-cache.ts';
import { defaultTreeLimits } from '../../../src/tree/walk-directories.ts';
import { blobOf } from '../../support/blob-of.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { never } from '../../support/never.ts';
import { startServer } from '../../support/start-server.ts';
import type { CallOptions } from '../../support/test-client.ts';
import { testInstance } from '../../support/test-instance.ts';

const path = '/build.bazel.remote.execution.v2.ActionCache';
const actionDigest = blobOf('an action').digest.toMessage();
const invalid = { code: Code.INVALID_ARGUMENT };

type Partly<T> = Parameters<typeof ActionResult.fromPartial>[0] & T;
type Hints = Partial<
  Pick<
    GetActionResultRequest,
    'inlineStdout' | 'inlineStderr' | 'inlineOutputFiles' | 'instanceName'
  >
>;

async function start(t: TestContext, changes: Partial<Instance> = {}) {
  const base = testInstance();
  const actions = withCompleteness(
    new MemoryActionCache({ maxSizeBytes: 2 ** 24 }).namespace(''),
    base.blobs,
    { treeLimits: defaultTreeLimits, knownTrees: new KnownTrees(2 ** 20) },
  );
  const instance = { ...base, actions, ...changes };
  const { client } = await startServer(t, [
    actionCache(new Instances([instance]), new FakeClock()),
  ]);
  const updateWith = (
    request: Parameters<typeof UpdateActionResultRequest.fromPartial>[0],
    options: CallOptions = {},
  ) =>
    client.unary(
      `${path}/UpdateActionResult`,
      UpdateActionResultRequest,
      ActionResult,
      UpdateActionResultRequest.fromPartial(request),
      options,
    );
  return {
    instance,
    client,
    updateWith,
    update: (actionResult: Partly<unknown>, options: CallOptions = {}) =>
      updateWith({ actionDigest, actionResult }, options),
    get: (hints: Hints = {}) =>
      client.unary(
        `${path}/GetActionResult`,
        GetActionResultRequest,
        ActionResult,
        GetActionResultRequest.fromPartial({ actionDigest, ...hints }),
      ),
    put: async (content: string | Uint8Array) => {
      const { digest, bytes } = blobOf(content);
      await instance.blobs.write(digest, chunksOf(bytes), never);
      return digest.toMessage();
    },
    contentOf: async (message: { hash: string; sizeBytes: number } | undefined) => {
      const digest = Digest.fromMessage(sha256, message, 'digest');
      return Buffer.from(await collect(instance.blobs.read(digest, 0, never))).toString();
    },
  };
}

describe('GetActionResult', () => {
  it('AC-01: an unknown action is NOT_FOUND', async (t) => {
    const { get } = await start(t);
    await assert.rejects(get(), { code: Code.NOT_FOUND });
  });

  it('GEN-04: an unknown instance is INVALID_ARGUMENT, no miss', async (t) => {
    const { get } = await start(t);
    await assert.rejects(get({ instanceName: 'nope' }), invalid);
  });

  it('AC-05, AC-06, AC-07, AC-09: inlines what was asked for, beside the digests', async (t) => {
    const { put, update, get } = await start(t);
    await update({
      stdoutDigest: await put('out'),
      outputFiles: [
        { path: 'a', digest: await put('A') },
        { path: 'b', digest: await put('B') },
      ],
    });
    const plain = await get();
    assert.equal(plain.stdoutRaw.length + (plain.outputFiles[0]?.contents.length ?? 0), 0);
    const inlined = await get({ inlineStdout: true, inlineOutputFiles: ['b', 'none'] });
    assert.equal(Buffer.from(inlined.stdoutRaw).toString(), 'out');
    assert.equal(inlined.stdoutDigest?.sizeBytes, 3);
    const contents = inlined.outputFiles.map((file) => Buffer.from(file.contents).toString());
    assert.deepEqual(contents, ['', 'B']);
    assert.equal(inlined.outputFiles[1]?.digest?.sizeBytes, 1);
  });

  it('AC-08: drops what would make the response too large', async (t) => {
    const { put, update, get } = await start(t);
    const stdoutDigest = await put(Buffer.alloc(20 * 2 ** 20, 'x'));
    await update({ stdoutDigest });
    const { stdoutRaw, ...result } = await get({ inlineStdout: true });
    assert.equal(stdoutRaw.length, 0);
    assert.equal(result.stdoutDigest?.hash, stdoutDigest.hash);
  });
});

describe('UpdateActionResult', () => {
  it('RAC-08, AC-12, AC-13, AC-25, AC-27: stores the result as it is, failed ones too', async (t) => {
    const { client, get } = await start(t);
    const symlinks = [{ path: 'l', target: '../x' }];
    const bytes = Uint8Array.from(
      Buffer.concat([
        ActionResult.encode(
          ActionResult.fromPartial({
            exitCode: 1,
            outputSymlinks: symlinks,
            outputFileSymlinks: symlinks,
            executionMetadata: { worker: 'w' },
          }),
        ).finish(),
        Buffer.from([0x9a, 0x06, 0x01, 0x21]),
      ]),
    );
    // Built by hand: fromPartial knows no unknown fields.
    const request = {
      ...UpdateActionResultRequest.fromPartial({ actionDigest }),
      actionResult: ActionResult.decode(bytes),
    };
    await client.raw(
      `${path}/UpdateActionResult`,
      UpdateActionResultRequest.encode(request).finish(),
    );
    const stored = ActionResult.encode(await get()).finish();
    assert.deepEqual(ActionResult.decode(stored), ActionResult.decode(bytes));
  });

  it('RAC-09, AC-12, MOO-02: asks for no Action and no Command, and for none that can be read', async (t) => {
    const { put, updateWith, client } = await start(t);
    const orphan = Action.fromPartial({
      commandDigest: blobOf('a command that is not here').digest.toMessage(),
      inputRootDigest: blobOf('').digest.toMessage(),
    });
    for (const stored of [
      blobOf('an action that is not here').digest.toMessage(),
      await put(Action.encode(orphan).finish()),
      await put('{"command":"tsc"}'),
    ]) {
      await updateWith({ actionDigest: stored, actionResult: { exitCode: 0 } });
      const request = GetActionResultRequest.fromPartial({ actionDigest: stored });
      const method = `${path}/GetActionResult`;
      assert.ok(await client.unary(method, GetActionResultRequest, ActionResult, request));
      // Nobody can tell where its command ran: as far up as is safe in any case.
      const outputSymlinks = [{ path: '../a', target: 'b' }];
      await assert.rejects(
        updateWith({ actionDigest: stored, actionResult: { outputSymlinks } }),
        invalid,
      );
    }
  });

  it('AC-17: stores contents that came along as blobs', async (t) => {
    const { update, get, contentOf } = await start(t);
    const contents = Buffer.from('file');
    await update({
      stdoutRaw: Buffer.from('out'),
      stderrRaw: Buffer.from('err'),
      outputFiles: [{ path: 'a', contents }],
    });
    const result = await get();
    assert.equal(await contentOf(result.stdoutDigest), 'out');
    assert.equal(await contentOf(result.stderrDigest), 'err');
    assert.equal(await contentOf(result.outputFiles[0]?.digest), 'file');
    assert.equal(result.stdoutRaw.length, 0);
    assert.equal(result.outputFiles[0]?.contents.length, 0);
  });

  it('AC-19, AC-20, RES-26: an empty result gets a worker, and moments', async (t) => {
    const { update, get } = await start(t);
    const metadata = RequestMetadata.encode(
      RequestMetadata.fromPartial({ toolDetails: { toolName: 'buck2' } }),
    ).finish();
    const name = 'build.bazel.remote.execution.v2.requestmetadata-bin';
    await update({}, { metadata: { [name]: Buffer.from(metadata) } });
    const { executionMetadata } = await get();
    assert.equal(executionMetadata?.worker, 'buck2');
    assert.equal(executionMetadata.queuedTimestamp?.seconds, 1_700_000_000);
    assert.equal(executionMetadata.workerCompletedTimestamp?.seconds, 1_700_000_000);
  });

  it('RAC-08, AC-14: a result whose blobs are absent is refused', async (t) => {
    const { update, get } = await start(t);
    const absent = blobOf('absent').digest.toMessage();
    for (const result of [
      { stdoutDigest: absent },
      { stderrDigest: absent },
      { outputFiles: [{ path: 'a', digest: absent }] },
      { outputDirectories: [{ path: 'a', treeDigest: absent }] },
      { outputDirectories: [{ path: 'a', rootDirectoryDigest: absent }] },
    ]) {
      await assert.rejects(update(result), { code: Code.FAILED_PRECONDITION });
      await assert.rejects(get(), { code: Code.NOT_FOUND });
    }
  });

  it('AC-15: a cache without room says RESOURCE_EXHAUSTED', async (t) => {
    const blobs = new MemoryBlobs({ sizeBytesMax: 10 }).namespace('');
    const { update } = await start(t, { blobs });
    const stdoutRaw = Buffer.from('more than ten bytes');
    await assert.rejects(update({ stdoutRaw }), { code: Code.RESOURCE_EXHAUSTED });
  });

  it('AC-16, CAP-09: where clients may not, it is PERMISSION_DENIED', async (t) => {
    const { update } = await start(t, { actionCacheUpdates: false });
    await assert.rejects(update({}), { code: Code.PERMISSION_DENIED });
  });

  it('AC-21, CAP-10: only the announced priority is taken', async (t) => {
    const { updateWith } = await start(t);
    const request = { actionDigest, actionResult: {} };
    await updateWith({ ...request, resultsCachePolicy: { priority: 0 } });
    for (const priority of [-1, 1]) {
      await assert.rejects(updateWith({ ...request, resultsCachePolicy: { priority } }), invalid);
    }
  });

  it('AC-23: action_digest and action_result must be set', async (t) => {
    const { updateWith } = await start(t);
    await assert.rejects(updateWith({ actionDigest }), invalid);
    await assert.rejects(updateWith({ actionResult: {} }), invalid);
  });

  const digest = blobOf('').digest.toMessage();
  const other = Digest.ofBytes(sha1, new Uint8Array()).toMessage();
  const file = { path: 'a', digest };
  const link = { path: 'a', target: 'b' };
  for (const [what, result] of [
    ['an absolute path', { outputFiles: [{ path: '/etc/passwd', digest }] }],
    ['an empty path', { outputFiles: [{ path: '', digest }] }],
    ['a path that no system takes', { outputFiles: [{ path: 'a/'.repeat(2000) + 'b', digest }] }],
    ['an empty segment', { outputDirectories: [{ path: 'a//b', treeDigest: digest }] }],
    ['a trailing slash', { outputSymlinks: [{ path: 'a/', target: 'b' }] }],
    ['an empty target', { outputFileSymlinks: [{ path: 'a', target: '' }] }],
    ['a NUL in a target', { outputDirectorySymlinks: [{ path: 'a', target: 'b\0' }] }],
    ['a digest of another function', { outputFiles: [{ path: 'a', digest: other }] }],
    ['a file without digest', { outputFiles: [{ path: 'a' }] }],
    [
      'contents of another digest',
      { outputFiles: [{ path: 'a', digest, contents: Buffer.from('x') }] },
    ],
    ['a malformed digest', { stdoutDigest: { hash: 'x', sizeBytes: 1 } }],
    ['a negative size', { stderrDigest: { ...digest, sizeBytes: -1 } }],
    ['a directory without digest', { outputDirectories: [{ path: 'a' }] }],
    ['a digest without hash', { stdoutDigest: { hash: '', sizeBytes: 0 } }],
    ['an absolute symlink path', { outputSymlinks: [{ path: '/a', target: 'b' }] }],
    ['a path out of the input root', { outputFiles: [{ path: '../a', digest }] }],
    ['a path that comes back in', { outputSymlinks: [{ path: 'a/../../a/b', target: 'c' }] }],
    ['a file twice', { outputFiles: [file, file] }],
    [
      'a directory twice',
      { outputDirectories: [1, 2].map(() => ({ path: 'a', treeDigest: digest })) },
    ],
    [
      'a path that is a file and a directory',
      { outputFiles: [file], outputDirectories: [{ path: 'a', treeDigest: digest }] },
    ],
    ['a path that is a file and a symlink', { outputFiles: [file], outputSymlinks: [link] }],
    ['a symlink twice', { outputSymlinks: [link, link] }],
    [
      'a symlink to a file and to a directory at once',
      { outputFileSymlinks: [link], outputDirectorySymlinks: [link] },
    ],
    [
      'two symlinks to a file beside one for newer clients',
      { outputSymlinks: [link], outputFileSymlinks: [link, link] },
    ],
    [
      'a symlink for newer clients twice, beside one for older ones',
      { outputSymlinks: [link, link], outputFileSymlinks: [link] },
    ],
    [
      'a symlink with two targets',
      { outputSymlinks: [link], outputFileSymlinks: [{ ...link, target: 'c' }] },
    ],
  ] as const) {
    it(`RAC-08, AC-22: ${what} is INVALID_ARGUMENT`, async (t) => {
      const { update, get } = await start(t);
      await assert.rejects(update(result as never), invalid);
      await assert.rejects(get(), { code: Code.NOT_FOUND });
    });
  }

  it('RAC-08: a symlink that stands there for older clients too is no path listed twice', async (t) => {
    const { update } = await start(t);
    const toDirectory = { path: 'b', target: 'd/' };
    await update({
      outputSymlinks: [link, toDirectory],
      outputFileSymlinks: [link],
      outputDirectorySymlinks: [toDirectory],
    });
  });

  it('RAC-08: paths may go up as far as the working directory of the action is deep', async (t) => {
    const { put, updateWith } = await start(t);
    const workingDirectory = 'src/lib';
    const command = Command.encode(Command.fromPartial({ workingDirectory })).finish();
    const commandDigest = await put(command);
    const inputRootDigest = blobOf('a root that is not looked at').digest.toMessage();
    const message = Action.fromPartial({ commandDigest, inputRootDigest });
    const stored = await put(Action.encode(message).finish());
    const updateAt = (outputPath: string) =>
      updateWith({
        actionDigest: stored,
        actionResult: { outputSymlinks: [{ path: outputPath, target: 'x' }] },
      });
    await updateAt('../../out/x');
    for (const outputPath of ['../../../x', 'a/../../../../src/lib/x']) {
      await assert.rejects(updateAt(outputPath), invalid);
    }
  });

  it('RAC-08, AC-22: a symlink out of the input root is INVALID_ARGUMENT where absolute ones are', async (t) => {
    const refused = [
      ...['/etc/passwd', '../../etc/passwd', 'x/../../../d/l'].map(linkTo),
      ...['/etc/passwd', '../../../etc/passwd'].map(folderOf),
    ];
    const inside = [linkTo('../etc/passwd'), folderOf('../../etc/passwd')];
    const strict = await start(t, { absoluteSymlinks: 'disallowed' });
    const lenient = await start(t);
    await assert.rejects(
      strict.update(folderOf('/etc/passwd')),
      { code: Code.FAILED_PRECONDITION },
      'AC-14',
    );
    for (const { put } of [strict, lenient]) {
      for (const target of ['/etc/passwd', '../../../etc/passwd', '../../etc/passwd']) {
        await put(treeOf(target));
      }
    }
    for (const result of refused) {
      await assert.rejects(strict.update(result), invalid);
      await lenient.update(result);
    }
    await assert.rejects(strict.get(), { code: Code.NOT_FOUND });
    for (const result of inside) await strict.update(result);
  });
});

function linkTo(target: string) {
  return { outputSymlinks: [{ path: 'd/l', target }] };
}

function folderOf(target: string) {
  return {
    outputDirectories: [{ path: 'd', treeDigest: blobOf(treeOf(target)).digest.toMessage() }],
  };
}

/** With a symlink one directory below its root. */
function treeOf(target: string): Uint8Array {
  const child = Directory.fromPartial({ symlinks: [{ name: 'l', target }] });
  const { digest } = blobOf(Directory.encode(child).finish());
  const root = { directories: [{ name: 'below', digest: digest.toMessage() }] };
  return Tree.encode(Tree.fromPartial({ root, children: [child] })).finish();
}
