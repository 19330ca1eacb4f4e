import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import {
  brotliDecompressSync,
  inflateRawSync,
  zstdCompressSync,
  zstdDecompressSync,
} from 'node:zlib';
import { Code } from '../../src/base/status.ts';
import { blake3 } from '../../src/digest/digest-functions.ts';
import { Digest } from '../../src/digest/digest.ts';
import {
  Compressor_Value,
  ExecuteOperationMetadata,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { Instances } from '../../src/rpc/instances.ts';
import { actionCache } from '../../src/rpc/services/action-cache.ts';
import { ApiClient, responseOf } from '../support/api-client.ts';
import { blobOf } from '../support/blob-of.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { startFleet } from '../support/fleet.ts';
import { startServer } from '../support/start-server.ts';
import { testInstance } from '../support/test-instance.ts';

/** Buck2 names no digest function, and has no PATH in its commands. */
const script = (text: string) => ({ arguments: ['sh', '-c', text] });

const platform = (pool: string) => ({ properties: [{ name: 'pool', value: pool }] });

test('Buck2 with a server and its worker', async (t) => {
  const { server, worker, at } = await startFleet(t, '[execution]\nworker_grace = "50ms"');
  await worker('one', '[platform]\npool = "a"');
  const buck2 = new ApiClient(t, server.address);

  await t.test('BK2-01: 64 digits without a function are SHA256, and never BLAKE3', async () => {
    const bytes = Buffer.from('buck2 with digest_algorithms = BLAKE3');
    const digest = Digest.ofBytes(blake3, bytes);
    const requests = [{ digest: digest.toMessage(), data: bytes }];
    const { responses } = await buck2.batchUpdate({ requests });
    assert.equal(responses[0]?.status?.code, Code.INVALID_ARGUMENT);
    const name = `uploads/1/blobs/${digest.hash}/${digest.sizeBytes}`;
    await assert.rejects(buck2.write(name, bytes), { code: Code.INVALID_ARGUMENT });
    await buck2.put(blobOf(bytes));
  });

  await t.test('BK2-02, BK2-04: a message of 4,000,000 bytes is taken and counted', async () => {
    const { digest, bytes } = blobOf(Buffer.alloc(4_000_001, 'x'));
    const { cacheCapabilities } = await buck2.capabilities();
    const pieceBytes = Math.max(4_000_000, cacheCapabilities?.maxBatchTotalSizeBytes ?? 0);
    assert.equal(await buck2.write(`uploads/2/blobs/${digest}`, bytes, pieceBytes), bytes.length);
  });

  await t.test(
    'BK2-03: each compressor it may choose is taken, and batches stay plain',
    async () => {
      const { cacheCapabilities } = await buck2.capabilities();
      const { ZSTD, BROTLI, DEFLATE, IDENTITY } = Compressor_Value;
      assert.deepEqual(cacheCapabilities?.supportedCompressors, [ZSTD, BROTLI, DEFLATE]);
      const { digest, bytes } = blobOf('compressed '.repeat(1000));
      const packed = zstdCompressSync(bytes);
      const name = `compressed-blobs/zstd/${digest}`;
      assert.equal(await buck2.write(`uploads/3/${name}`, packed), packed.length);
      assert.deepEqual(zstdDecompressSync(await buck2.read(name)), Buffer.from(bytes));
      const brotli = await buck2.read(`compressed-blobs/brotli/${digest}`);
      assert.deepEqual(brotliDecompressSync(brotli), Buffer.from(bytes));
      const deflate = await buck2.read(`compressed-blobs/deflate/${digest}`);
      assert.deepEqual(inflateRawSync(deflate), Buffer.from(bytes));
      const request = { digests: [digest.toMessage()], acceptableCompressors: [IDENTITY] };
      const { responses } = await buck2.batchRead(request);
      assert.equal(responses[0]?.compressor, IDENTITY);
      assert.deepEqual(Buffer.from(responses[0].data), Buffer.from(bytes));
    },
  );

  await t.test('BK2-05: every item of a batch has its digest and a status', async () => {
    const [there, absent] = [blobOf('there'), blobOf('absent')];
    await buck2.put(there);
    const digests = [there, absent].map(({ digest }) => digest.toMessage());
    const { responses } = await buck2.batchRead({ digests });
    assert.deepEqual(
      responses.map(({ digest, status }) => [digest?.hash, status?.code]),
      [
        [there.digest.hash, Code.OK],
        [absent.digest.hash, Code.NOT_FOUND],
      ],
    );
  });

  await t.test('BK2-06, BK2-08, BK2-09: its three output modes work without a PATH', async () => {
    const make = script('mkdir d; echo x > d/x; ln -s x l');
    const paths = ['d', 'l'];
    for (const lists of [
      { outputPaths: paths },
      { outputFiles: ['l'], outputDirectories: ['d'] },
      { outputFiles: paths, outputDirectories: paths },
    ]) {
      const result = await buck2.resultOf({ command: { ...make, ...lists } });
      assert.ok(result.executionMetadata);
      assert.equal(result.outputDirectories.length, 1);
      assert.ok(result.outputDirectories[0]?.treeDigest);
      if (lists.outputPaths) assert.deepEqual(result.outputSymlinks[0]?.path, 'l');
    }
    const file = await buck2.resultOf({ command: { ...script('> f'), outputPaths: ['f'] } });
    assert.equal(file.outputFiles[0]?.digest?.sizeBytes, 0);
  });

  await t.test('BK2-07: the platform of the command alone chooses the worker', async () => {
    const fitting = { ...script('echo fits'), platform: platform('a') };
    assert.equal((await buck2.resultOf({ command: fitting })).exitCode, 0);
    const actionDigest = await buck2.putAction({
      command: { ...script('echo fits not'), platform: platform('b') },
    });
    const { status } = await buck2.run({ actionDigest });
    assert.equal(status?.code, Code.FAILED_PRECONDITION);
  });

  await t.test('BK2-10, BK2-13: a second Execute joins what the cut stream had begun', async () => {
    const [pipe, count] = [at('pipe'), at('count')];
    execFileSync('mkfifo', [pipe]);
    const command = script(`echo run >> ${count}; cat ${pipe}`);
    const actionDigest = await buck2.putAction({ command });
    const cutting = new AbortController();
    const cut = buck2.execute({ actionDigest }, { signal: cutting.signal });
    await cut.next();
    cutting.abort();
    await assert.rejects(Array.fromAsync(cut), { code: Code.CANCELLED });
    const again = buck2.execute({ actionDigest });
    const { value: first } = await again.next();
    await writeFile(pipe, 'output');
    const seen = [first, ...(await Array.fromAsync(again))];
    assert.equal(responseOf(seen).result?.exitCode, 0);
    for (const { metadata } of seen) {
      const { actionDigest: told } = ExecuteOperationMetadata.decode(
        metadata?.value ?? Buffer.of(),
      );
      assert.equal(told?.hash, actionDigest.hash);
    }
    assert.equal(readFileSync(count, 'utf8'), 'run\n');
  });

  await t.test('BK2-12: a hundred digests are asked for at once', async () => {
    const blobs = Array.from({ length: 100 }, (_, index) => blobOf(`of a hundred: ${index}`));
    await buck2.put(...blobs.slice(0, 50));
    const blobDigests = blobs.map(({ digest }) => digest.toMessage());
    const { missingBlobDigests } = await buck2.findMissing({ blobDigests });
    assert.deepEqual(
      new Set(missingBlobDigests.map(({ hash }) => hash)),
      new Set(blobs.slice(50).map(({ digest }) => digest.hash)),
    );
  });

  await t.test('BK2-14: a miss is NOT_FOUND, and the empty blob is not sent', async () => {
    const file = { name: 'empty', digest: blobOf('').digest.toMessage() };
    const command = script('test -f empty && test ! -s empty');
    const actionDigest = await buck2.putAction({ command, root: { files: [file] } });
    await assert.rejects(buck2.getActionResult({ actionDigest }), { code: Code.NOT_FOUND });
    assert.equal((await buck2.run({ actionDigest })).result?.exitCode, 0);
  });
});

for (const [what, updateEnabled] of [
  ['may be written', true],
  ['is read only', false],
] as const) {
  test(`BK2-11: its probe learns that a cache ${what}`, async (t) => {
    const instance = testInstance({ name: 'main', actionCacheUpdates: updateEnabled });
    const services = [actionCache(new Instances([instance]), new FakeClock())];
    const { listener } = await startServer(t, services);
    const buck2 = new ApiClient(t, listener.address);
    const actionDigest = blobOf('a probe').digest.toMessage();
    const actionResult = { executionMetadata: { worker: 'buck2' } };
    const probe = buck2.updateActionResult({ actionDigest, actionResult });
    if (updateEnabled) await probe;
    else await assert.rejects(probe, { code: Code.PERMISSION_DENIED });
  });
}
