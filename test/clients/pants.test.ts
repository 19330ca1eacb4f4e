import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { Code } from '../../src/base/status.ts';
import {
  Action,
  Command,
  type DeepPartial,
  Digest,
  Directory,
  RequestMetadata,
  Tree,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { PreconditionFailure } from '../../src/proto/google/rpc/error_details.ts';
import { ApiClient, responseOf } from '../support/api-client.ts';
import { blobOf } from '../support/blob-of.ts';
import { startFleet } from '../support/fleet.ts';
import { keepLines } from '../support/keep-lines.ts';
import { startTestServer } from '../support/start-expbuild-server.ts';
import { tempDir } from '../support/temp-dir.ts';

const script = (text: string) => ({ arguments: ['/bin/sh', '-c', text] });

const encoded = {
  command: (parts: DeepPartial<Command>) =>
    blobOf(Command.encode(Command.fromPartial(parts)).finish()),
  directory: (parts: DeepPartial<Directory>) =>
    blobOf(Directory.encode(Directory.fromPartial(parts)).finish()),
  action: (parts: DeepPartial<Action>) => blobOf(Action.encode(Action.fromPartial(parts)).finish()),
};

test('Pants with a server and its worker', { timeout: 60_000 }, async (t) => {
  const { server, worker, at } = await startFleet(t);
  await worker('one', '[platform]\npool = "a"');
  const pants = new ApiClient(t, server.address);

  await t.test(
    'PNT-01: what is missing is told by the response, in one detail with subjects of three parts',
    async () => {
      const [file, command] = [blobOf('not uploaded'), encoded.command(script('cat f'))];
      const root = encoded.directory({ files: [{ name: 'f', digest: file.digest.toMessage() }] });
      const action = encoded.action({
        commandDigest: command.digest.toMessage(),
        inputRootDigest: root.digest.toMessage(),
      });
      const actionDigest = action.digest.toMessage();
      const uploads = [
        { uploaded: [], missing: [action] },
        { uploaded: [action], missing: [command, root] },
        { uploaded: [command, root], missing: [file] },
      ];
      for (const { uploaded, missing } of uploads) {
        if (uploaded.length > 0) await pants.put(...uploaded);
        const { status } = await pants.run({ actionDigest, skipCacheLookup: true });
        assert.equal(status?.code, Code.FAILED_PRECONDITION);
        const [detail, ...more] = status.details;
        assert.deepEqual(more, []);
        assert.equal(detail?.typeUrl, 'type.googleapis.com/google.rpc.PreconditionFailure');
        const { violations } = PreconditionFailure.decode(detail.value);
        assert.ok(violations.every(({ type }) => type === 'MISSING'));
        const subjects = violations.map(({ subject }) => subject.split('/'));
        assert.deepEqual(
          new Set(subjects.map((parts) => parts.join())),
          new Set(missing.map(({ digest }) => `blobs,${digest.hash},${digest.sizeBytes}`)),
        );
      }
    },
  );

  await t.test('PNT-02: uploads are answered with their length, the second one too', async () => {
    const { digest, bytes } = blobOf('x'.repeat(5 * 2 ** 20 + 1));
    for (const uuid of ['first', 'second']) {
      const name = `uploads/${uuid}/blobs/${digest}`;
      assert.equal(await pants.write(name, bytes, 3 * 2 ** 20), bytes.length);
    }
  });

  await t.test('PNT-03: each answer of a batch has a status and a digest asked for', async () => {
    const [one, two, absent] = [blobOf('one'), blobOf('two'), blobOf('absent')];
    const requests = [one, two].map(({ digest, bytes }) => ({
      digest: digest.toMessage(),
      data: bytes,
    }));
    const update = await pants.batchUpdate({ requests });
    const digests = [one, absent, two].map(({ digest }) => digest.toMessage());
    const read = await pants.batchRead({ digests });
    for (const [responses, expected] of [
      [update.responses, [one, two]],
      [read.responses, [one, absent, two]],
    ] as const) {
      assert.ok(responses.every(({ status }) => status !== undefined));
      assert.deepEqual(
        new Set(responses.map(({ digest }) => digest?.hash)),
        new Set(expected.map(({ digest }) => digest.hash)),
      );
    }
  });

  await t.test(
    'PNT-04: it looks into the cache itself, and stores what it ran itself',
    async () => {
      const actionDigest = await pants.putAction({ command: script('echo remote') });
      await assert.rejects(pants.getActionResult({ actionDigest }), { code: Code.NOT_FOUND });
      for (const run of ['first', 'second']) {
        const { cachedResult } = await pants.run({ actionDigest, skipCacheLookup: true });
        assert.equal(cachedResult, false, run);
      }
      assert.ok((await pants.getActionResult({ actionDigest })).stdoutDigest);
      const own = await pants.putAction({ command: script('echo local') });
      const out = blobOf('local\n');
      await pants.put(out);
      const actionResult = { stdoutDigest: out.digest.toMessage() };
      await pants.updateActionResult({ actionDigest: own, actionResult });
      const { stdoutDigest } = await pants.getActionResult({ actionDigest: own });
      assert.deepEqual(stdoutDigest, Digest.fromPartial(out.digest.toMessage()));
    },
  );

  await t.test(
    'PNT-05, PNT-07: the command has the platform, and "" is its whole working directory',
    async () => {
      const platform = { properties: [{ name: 'pool', value: 'a' }] };
      for (const lists of [{ outputPaths: [''] }, { outputDirectories: [''] }]) {
        const command = { ...script('mkdir d; echo x > d/x; ln -s x d/l'), platform, ...lists };
        const { outputDirectories } = await pants.resultOf({ command });
        assert.deepEqual(
          outputDirectories.map(({ path }) => path),
          [''],
        );
        const { responses } = await pants.batchRead({
          digests: outputDirectories.map(({ treeDigest }) => treeDigest ?? {}),
        });
        const { root, children } = Tree.decode(responses[0]?.data ?? Buffer.of());
        assert.deepEqual(
          root?.directories.map(({ name }) => name),
          ['d'],
        );
        assert.equal(await pants.text(children[0]?.files[0]?.digest), 'x\n');
        assert.equal(children[0]?.symlinks[0]?.target, 'x');
      }
    },
  );

  await t.test('PNT-08: a cut stream is waited for, and a dropped process is ended', async () => {
    const pipe = at('pipe');
    execFileSync('mkfifo', [pipe]);
    const actionDigest = await pants.putAction({ command: script(`cat ${pipe}`) });
    const cutting = new AbortController();
    const cut = pants.execute({ actionDigest, skipCacheLookup: true }, { signal: cutting.signal });
    const { value: first } = await cut.next();
    cutting.abort();
    await assert.rejects(Array.fromAsync(cut), { code: Code.CANCELLED });
    const waiting = pants.waitExecution(first?.name ?? '');
    await waiting.next();
    await writeFile(pipe, 'output');
    const { result } = responseOf(await Array.fromAsync(waiting));
    assert.equal(await pants.text(result?.stdoutDigest), 'output');

    const dropped = pants.execute({ actionDigest, skipCacheLookup: true });
    const { value: begun } = await dropped.next();
    await pants.cancel(begun?.name ?? '');
    const rest = await Array.fromAsync(dropped);
    assert.equal(responseOf(rest).status?.code, Code.CANCELLED);
  });

  await t.test('PNT-09: a timeout is DEADLINE_EXCEEDED in the response', async () => {
    const actionDigest = await pants.putAction({
      command: script('sleep 60'),
      action: { timeout: { nanos: 200_000_000 } },
    });
    const { status } = await pants.run({ actionDigest });
    assert.equal(status?.code, Code.DEADLINE_EXCEEDED);
  });
});

for (const [id, header] of [
  ['PNT-06', 'google.devtools.remoteexecution.v1test.requestmetadata-bin'],
  ['RCC-07', 'requestmetadata-bin'],
] as const) {
  test(`${id}: the server reads what a client says of itself under ${header}`, async (t) => {
    const { log, lines } = keepLines();
    const { address } = await startTestServer(t, { folder: tempDir(t), log });
    const metadata = RequestMetadata.fromPartial({ toolDetails: { toolName: 'by its old name' } });
    const value = Buffer.from(RequestMetadata.encode(metadata).finish());
    const client = new ApiClient(t, address, 'main', { metadata: { [header]: value } });
    await client.capabilities();
    const call = lines.find(({ method }) => String(method).endsWith('/GetCapabilities'));
    assert.equal(call?.['tool'], 'by its old name');
  });
}
