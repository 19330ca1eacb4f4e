import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { Code } from '../../src/base/status.ts';
import {
  Command_OutputDirectoryFormat,
  Directory,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { ApiClient, responseOf } from '../support/api-client.ts';
import { blobOf } from '../support/blob-of.ts';
import { startFleet } from '../support/fleet.ts';

const script = (text: string) => ({ arguments: ['sh', '-c', text] });

test('BuildStream with a server and its worker', { timeout: 60_000 }, async (t) => {
  const { server, worker, at } = await startFleet(t);
  await worker('one', '[platform]\nISA = "x86-64"\nOSFamily = "linux"');
  const buildstream = new ApiClient(t, server.address);

  /** The directory of a digest, which must be stored by itself. */
  const directoryOf = async (digest: { hash?: string; sizeBytes?: number } = {}) => {
    const { responses } = await buildstream.batchRead({ digests: [digest] });
    assert.equal(responses[0]?.status?.code, Code.OK);
    return Directory.decode(responses[0].data);
  };

  await t.test(
    'BST-03: the whole input root comes back as directories, asked for as ../.. from deep inside',
    async () => {
      const empty = blobOf('').digest.toMessage();
      const inner = blobOf(
        Directory.encode(
          Directory.fromPartial({ directories: [{ name: 'src', digest: empty }] }),
        ).finish(),
      );
      await buildstream.put(inner);
      const { outputFiles, outputDirectories } = await buildstream.resultOf({
        command: {
          ...script('echo made > f; mkdir ../../out; echo x > ../../out/x'),
          workingDirectory: 'build/src',
          outputPaths: ['../..'],
          outputDirectoryFormat: Command_OutputDirectoryFormat.DIRECTORY_ONLY,
          outputNodeProperties: ['unix_mode', 'mtime'],
        },
        root: { directories: [{ name: 'build', digest: inner.digest.toMessage() }] },
      });
      assert.deepEqual(outputFiles, [], 'an error for it');
      assert.deepEqual(
        outputDirectories.map(({ path }) => path),
        ['../..'],
      );
      const [whole] = outputDirectories;
      const top = await directoryOf(whole?.rootDirectoryDigest);
      assert.deepEqual(
        top.directories.map(({ name }) => name),
        ['build', 'out'],
      );
      const out = await directoryOf(top.directories[1]?.digest);
      assert.equal(await buildstream.text(out.files[0]?.digest), 'x\n');
      assert.ok(out.files[0]?.nodeProperties?.unixMode);
      assert.ok(out.files[0].nodeProperties.mtime);
      const build = await directoryOf(top.directories[0]?.digest);
      const src = await directoryOf(build.directories[0]?.digest);
      assert.equal(await buildstream.text(src.files[0]?.digest), 'made\n');
    },
  );

  await t.test(
    'BST-04: its platform, in the action and in the command, finds a worker',
    async () => {
      const platform = {
        properties: [
          { name: 'ISA', value: 'x86-64' },
          { name: 'OSFamily', value: 'linux' },
          { name: 'network', value: 'on' },
          { name: 'remoteApisSocketPath', value: 'tmp/casd.sock' },
          { name: 'unixGID', value: '0' },
          { name: 'unixUID', value: '0' },
        ],
      };
      const command = { ...script('true'), platform };
      const { exitCode } = await buildstream.resultOf({ command, action: { platform } });
      assert.equal(exitCode, 0);
    },
  );

  await t.test('BST-06: cancelling is no error, before the end, after it, and again', async () => {
    const actionDigest = await buildstream.putAction({ command: script('sleep 60') });
    const running = buildstream.execute({ actionDigest });
    const { value: first } = await running.next();
    const name = first?.name ?? '';
    await buildstream.cancel(name);
    const { status } = responseOf(await Array.fromAsync(running));
    assert.equal(status?.code, Code.CANCELLED);
    await buildstream.cancel(name);
    const done = await Array.fromAsync(
      buildstream.execute({
        actionDigest: await buildstream.putAction({ command: script('true') }),
      }),
    );
    await buildstream.cancel(done[0]?.name ?? '');
    const again = await Array.fromAsync(buildstream.waitExecution(done[0]?.name ?? ''));
    assert.equal(responseOf(again).result?.exitCode, 0);
  });

  await t.test(
    'BST-07: an operation ends with a response, also for who comes back to it',
    async () => {
      const pipe = at('pipe');
      execFileSync('mkfifo', [pipe]);
      const cutting = new AbortController();
      const actionDigest = await buildstream.putAction({ command: script(`cat ${pipe}`) });
      const cut = buildstream.execute({ actionDigest }, { signal: cutting.signal });
      const { value: first } = await cut.next();
      cutting.abort();
      await assert.rejects(Array.fromAsync(cut), { code: Code.CANCELLED });
      await writeFile(pipe, 'output');
      const waited = await Array.fromAsync(buildstream.waitExecution(first?.name ?? ''));
      assert.equal(await buildstream.text(responseOf(waited).result?.stdoutDigest), 'output');

      const unknown = await buildstream.putAction({
        command: script('true'),
        root: {
          files: [{ name: 'f', digest: blobOf('never uploaded').digest.toMessage() }],
        },
      });
      const failed = await Array.fromAsync(buildstream.execute({ actionDigest: unknown }));
      assert.equal(responseOf(failed).status?.code, Code.FAILED_PRECONDITION);
    },
  );
});
