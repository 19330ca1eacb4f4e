import assert from 'node:assert/strict';
import { test } from 'node:test';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { Code } from '../../src/base/status.ts';
import type { ChunkingFunction } from '../../src/chunking/chunking-function.ts';
import { fastCdc2020 } from '../../src/chunking/fast-cdc-2020.ts';
import {
  Directory,
  RequestMetadata,
  Tree,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { chunkLengths } from '../chunking/pieces.ts';
import { ApiClient, responseOf } from '../support/api-client.ts';
import { blobOf } from '../support/blob-of.ts';
import { startFleet } from '../support/fleet.ts';
import { seededRandom } from '../support/seeded-random.ts';

const sha256 = 1 as const;
const tool = (toolVersion: string) => {
  const metadata = RequestMetadata.fromPartial({
    toolDetails: { toolName: 'bazel', toolVersion },
    toolInvocationId: 'invocation',
    actionMnemonic: 'Genrule',
  });
  const header = 'build.bazel.remote.execution.v2.requestmetadata-bin';
  return { metadata: { [header]: Buffer.from(RequestMetadata.encode(metadata).finish()) } };
};

const script = (text: string) => ({ arguments: ['sh', '-c', text] });

async function cut(chunking: ChunkingFunction, bytes: Uint8Array): Promise<Uint8Array[]> {
  const ends: number[] = [];
  for (const length of await chunkLengths(chunking, bytes)) ends.push((ends.at(-1) ?? 0) + length);
  return ends.map((end, n) => bytes.subarray(ends[n - 1] ?? 0, end));
}

test('BZL-02, BZL-03: executors and caches of any instance announce themselves from 2.0 on', async (t) => {
  for (const backend of ['scheduler', 'none']) {
    const { server } = await startFleet(t, `[execution]\nbackend = "${backend}"`);
    for (const instanceName of ['', 'main']) {
      const bazel = new ApiClient(t, server.address, instanceName, tool('6.5.0'));
      const { lowApiVersion, cacheCapabilities, executionCapabilities } =
        await bazel.capabilities();
      assert.deepEqual(
        [lowApiVersion?.major, lowApiVersion?.minor, lowApiVersion?.patch],
        [2, 0, 0],
      );
      assert.ok(cacheCapabilities?.digestFunctions.includes(sha256));
      assert.equal(executionCapabilities?.execEnabled ?? false, backend === 'scheduler');
    }
  }
});

test('Bazel with a server and its worker', async (t) => {
  const { server, worker } = await startFleet(t);
  await worker('one', '[platform]\npool = "old"');
  const bazel = new ApiClient(t, server.address, 'main', tool('8.4.2'));

  await t.test(
    'BZL-04, BZL-07, BZL-08: each release gets every kind of output by the fields it asks with',
    async () => {
      const make = 'mkdir d; echo f > f; echo x > d/x; ln -s f l';
      const older = { outputFiles: ['f', 'l'], outputDirectories: ['d'] };
      const newer = { outputPaths: ['d', 'f', 'l'] };
      for (const lists of [older, newer, { ...older, ...newer }]) {
        const result = await bazel.resultOf({ command: { ...script(make), ...lists } });
        assert.deepEqual(
          result.outputFiles.map(({ path }) => path),
          ['f'],
        );
        assert.equal(await bazel.text(result.outputFiles[0]?.digest), 'f\n');
        const [directory] = result.outputDirectories;
        assert.equal(directory?.path, 'd');
        const { responses } = await bazel.batchRead({ digests: [directory.treeDigest ?? {}] });
        const tree = Tree.decode(responses[0]?.data ?? Buffer.of());
        assert.deepEqual(
          tree.root?.files.map(({ name }) => name),
          ['x'],
        );
        const links = [...result.outputSymlinks, ...result.outputFileSymlinks];
        assert.deepEqual(
          new Set(links.map(({ path, target }) => `${path} -> ${target}`)),
          new Set(['l -> f']),
        );
      }
    },
  );

  await t.test(
    'BZL-05: argv[0] is found from the working directory and by name, without a PATH',
    async () => {
      const program = blobOf('#!/bin/sh\necho run >&2\n');
      await bazel.put(program);
      const file = { name: 'tool', digest: program.digest.toMessage(), isExecutable: true };
      const root = { files: [file] };
      const environmentVariables = [{ name: 'LANG', value: 'C' }];
      for (const argv of [['./tool'], ['sh', './tool']]) {
        const { stderrDigest } = await bazel.resultOf({
          command: { arguments: argv, environmentVariables },
          root,
        });
        assert.equal(await bazel.text(stderrDigest), 'run\n');
      }
      const bin = blobOf(Directory.encode(Directory.fromPartial(root)).finish());
      await bazel.put(bin);
      const { exitCode } = await bazel.resultOf({
        command: { arguments: ['../bin/tool'], workingDirectory: 'out' },
        root: {
          directories: [
            { name: 'bin', digest: bin.digest.toMessage() },
            { name: 'out', digest: blobOf('').digest.toMessage() },
          ],
        },
      });
      assert.equal(exitCode, 0);
    },
  );

  await t.test(
    'BZL-06: a failure in the cache is replaced by the run that Bazel asks for',
    async () => {
      const actionDigest = await bazel.putAction({ command: script('echo fine') });
      const actionResult = { exitCode: 1, executionMetadata: { worker: 'bad' } };
      await bazel.updateActionResult({ actionDigest, actionResult, digestFunction: sha256 });
      const poisoned = await bazel.getActionResult({ actionDigest, digestFunction: sha256 });
      assert.equal(poisoned.exitCode, 1);
      const { cachedResult } = await bazel.run({ actionDigest, skipCacheLookup: true });
      assert.equal(cachedResult, false);
      assert.equal((await bazel.getActionResult({ actionDigest })).exitCode, 0);
    },
  );

  await t.test(
    'BZL-09, BZL-22: what is hinted at is inlined, and a worker is named with every moment',
    async () => {
      const command = { ...script('echo out; echo deps > x.d'), outputPaths: ['x.d'] };
      const { result } = await bazel.run({
        actionDigest: await bazel.putAction({ command }),
        inlineStdout: true,
        inlineStderr: true,
        inlineOutputFiles: ['x.d'],
      });
      assert.equal(Buffer.from(result?.stdoutRaw ?? []).toString(), 'out\n');
      assert.equal(Buffer.from(result?.outputFiles[0]?.contents ?? []).toString(), 'deps\n');
      const metadata = result?.executionMetadata;
      assert.equal(metadata?.worker, 'one');
      for (const moment of [
        metadata.queuedTimestamp,
        metadata.workerStartTimestamp,
        metadata.inputFetchStartTimestamp,
        metadata.inputFetchCompletedTimestamp,
        metadata.executionStartTimestamp,
        metadata.executionCompletedTimestamp,
        metadata.outputUploadStartTimestamp,
        metadata.outputUploadCompletedTimestamp,
        metadata.workerCompletedTimestamp,
      ]) {
        assert.ok((moment?.seconds ?? 0) > 0);
      }
    },
  );

  await t.test(
    'BZL-10, BZL-11, BZL-12, BZL-13: uploads are answered with what was sent, or -1, and are complete',
    async () => {
      const { digest, bytes } = blobOf('incompressible? no. '.repeat(10_000));
      const packed = zstdCompressSync(bytes);
      const plainName = `uploads/6a3c/blobs/${digest}`;
      const packedName = `uploads/8d21/compressed-blobs/zstd/${digest}`;
      assert.deepEqual((await bazel.queryWriteStatus(packedName)).complete, false);
      assert.equal(await bazel.write(packedName, packed, 1000), packed.length);
      assert.ok((await bazel.queryWriteStatus(packedName)).complete);
      assert.ok([bytes.length, -1].includes(await bazel.write(plainName, bytes)), 'there already');
      assert.ok(
        [packed.length, -1].includes(await bazel.write(packedName, packed)),
        'there already',
      );
      const other = blobOf('something else of the same name');
      const wrong = `uploads/1/blobs/${other.digest.hash}/${bytes.length}`;
      await assert.rejects(bazel.write(wrong, bytes), { code: Code.INVALID_ARGUMENT });
    },
  );

  await t.test(
    'BZL-14: what is lost is NOT_FOUND, and a broken read of zstd resumes by plain bytes',
    async () => {
      const { digest, bytes } = blobOf('0123456789'.repeat(1000));
      await assert.rejects(bazel.read(`blobs/${digest}`), { code: Code.NOT_FOUND });
      await bazel.put({ digest, bytes });
      const rest = await bazel.read(`compressed-blobs/zstd/${digest}`, 4321);
      assert.deepEqual(zstdDecompressSync(rest), Buffer.from(bytes.subarray(4321)));
    },
  );

  await t.test(
    'BZL-16: the stream ends with a response, and an operation that is unknown is NOT_FOUND',
    async () => {
      const actionDigest = await bazel.putAction({ command: script('exit 3') });
      const seen = await Array.fromAsync(bazel.execute({ actionDigest, digestFunction: sha256 }));
      assert.equal(responseOf(seen).result?.exitCode, 3);
      const again = await Array.fromAsync(bazel.waitExecution(seen[0]?.name ?? ''));
      assert.equal(responseOf(again).result?.exitCode, 3);
      await assert.rejects(Array.fromAsync(bazel.waitExecution('main/operations/gone')), {
        code: Code.NOT_FOUND,
      });
    },
  );

  await t.test('BZL-19: a question of 4 MiB is answered', async () => {
    const count = Math.floor((4 * 2 ** 20 - 100) / 73);
    const blobDigests = Array.from({ length: count }, (_, index) => ({
      hash: index.toString(16).padStart(64, '0'),
      sizeBytes: 1_000_000,
    }));
    const { missingBlobDigests } = await bazel.findMissing({ blobDigests, digestFunction: sha256 });
    assert.equal(missingBlobDigests.length, count);
  });

  await t.test('BZL-23: what marks persistent workers is ignored', async () => {
    const file = blobOf('tool');
    await bazel.put(file);
    const nodeProperties = { properties: [{ name: 'bazel_tool_input', value: '' }] };
    const platform = {
      properties: [
        { name: 'persistentWorkerKey', value: 'k' },
        { name: 'persistentWorkerProtocol', value: 'proto' },
      ],
    };
    const { exitCode } = await bazel.resultOf({
      command: { ...script('cat t'), platform },
      action: { platform },
      root: { files: [{ name: 't', digest: file.digest.toMessage(), nodeProperties }] },
    });
    assert.equal(exitCode, 0);
  });

  await t.test(
    'BZL-24: no-cache leaves nothing in the cache, and a salt makes another action',
    async () => {
      const command = script('echo salted');
      const uncached = await bazel.putAction({ command, action: { doNotCache: true } });
      await bazel.run({ actionDigest: uncached });
      await assert.rejects(bazel.getActionResult({ actionDigest: uncached }), {
        code: Code.NOT_FOUND,
      });
      for (const salt of ['', 'a', 'b']) {
        const actionDigest = await bazel.putAction({
          command,
          action: { salt: Buffer.from(salt) },
        });
        assert.equal((await bazel.run({ actionDigest })).cachedResult, false);
      }
    },
  );

  await t.test(
    'BZL-20: large blobs go and come as chunks, and of a new version only what changed goes',
    async () => {
      const { cacheCapabilities } = await bazel.capabilities();
      assert.ok(cacheCapabilities?.splitBlobSupport && cacheCapabilities.spliceBlobSupport);
      const { avgChunkSizeBytes = 0, seed = 0 } = cacheCapabilities.fastCdc2020Params ?? {};
      const chunking = fastCdc2020({ avgBytes: avgChunkSizeBytes, seed });
      const random = seededRandom(20);
      const first = Uint8Array.from({ length: 6 * 2 ** 20 }, () => random() * 256);
      const next = Uint8Array.from(first);
      next[3 * 2 ** 20] = (next[3 * 2 ** 20] ?? 0) ^ 1;
      const sent: number[] = [];
      for (const bytes of [first, next]) {
        const { digest } = blobOf(bytes);
        const chunks = (await cut(chunking, bytes)).map((chunk) => blobOf(chunk));
        const chunkDigests = chunks.map((chunk) => chunk.digest.toMessage());
        const { missingBlobDigests } = await bazel.findMissing({ blobDigests: chunkDigests });
        const missing = new Set(missingBlobDigests.map(({ hash }) => hash));
        sent.push(missing.size / chunks.length);
        for (const chunk of chunks.filter((one) => missing.has(one.digest.hash))) {
          await bazel.write(`uploads/chunk/blobs/${chunk.digest}`, chunk.bytes, 2 ** 20);
        }
        const blobDigest = digest.toMessage();
        const spliced = await bazel.spliceBlob({ blobDigest, chunkDigests });
        assert.partialDeepStrictEqual(spliced.blobDigest, blobDigest);
        assert.deepEqual(await bazel.read(`blobs/${digest}`), Buffer.from(bytes));
      }
      assert.equal(sent[0], 1);
      assert.ok((sent[1] ?? 1) <= 0.5, `${sent[1]} of the chunks of the second version`);
    },
  );

  await t.test('BZL-20: what was uploaded whole is downloaded as chunks', async () => {
    const random = seededRandom(21);
    const { digest, bytes } = blobOf(
      Uint8Array.from({ length: 5 * 2 ** 20 }, () => random() * 256),
    );
    await bazel.write(`uploads/whole/blobs/${digest}`, bytes);
    const { chunkDigests } = await bazel.splitBlob({ blobDigest: digest.toMessage() });
    assert.ok(chunkDigests.length > 1);
    const parts: Buffer[] = [];
    for (const chunk of chunkDigests) {
      parts.push(await bazel.read(`blobs/${chunk.hash}/${chunk.sizeBytes}`));
    }
    assert.deepEqual(Buffer.concat(parts), Buffer.from(bytes));
    const absent = blobOf('absent').digest.toMessage();
    await assert.rejects(bazel.splitBlob({ blobDigest: absent }), { code: Code.NOT_FOUND });
  });

  await t.test(
    'BZL-25, EXE-59: what a failure is about is in the message that it prints',
    async () => {
      const missingProgram = { arguments: ['./no-such'] };
      for (const [what, command, timeout, said] of [
        ['a timeout', script('sleep 60'), { nanos: 200_000_000 }, /ended after 0\.\d s/],
        ['a missing program', missingProgram, undefined, /no-such/],
        ['a signal', script('kill -KILL $$'), undefined, /SIGKILL/],
      ] as const) {
        const actionDigest = await bazel.putAction({ command, action: timeout ? { timeout } : {} });
        const { message, status } = await bazel.run({ actionDigest });
        assert.match(message, said, `${what}: ${status?.message}`);
      }
    },
  );

  await t.test('BZL-27: a client that knows version 2.0 alone runs an action', async () => {
    const old = new ApiClient(t, server.address, 'main', tool('5.4.1'));
    const platform = { properties: [{ name: 'pool', value: 'old' }] };
    const command = { ...script('echo x > o/f'), outputFiles: ['o/f'], platform };
    const actionDigest = await old.putAction({ command });
    await assert.rejects(old.getActionResult({ actionDigest }), { code: Code.NOT_FOUND });
    const { result } = await old.run({ actionDigest });
    assert.equal(await old.text(result?.outputFiles[0]?.digest), 'x\n');
    assert.equal((await old.getActionResult({ actionDigest })).outputFiles.length, 1);
  });
});
