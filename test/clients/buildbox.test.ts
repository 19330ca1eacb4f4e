import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code } from '../../src/base/status.ts';
import {
  ActionResult,
  Directory,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { RetryInfo } from '../../src/proto/google/rpc/error_details.ts';
import { ApiClient } from '../support/api-client.ts';
import { type Blob, blobOf } from '../support/blob-of.ts';
import { startFleet } from '../support/fleet.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { endOf, startServices } from './services.ts';

const script = (text: string) => ({ arguments: ['/bin/sh', '-c', text] });

/** A chain of directories, each in the one before it; the root comes first. */
function chainOf(depth: number): Blob[] {
  const chain = [blobOf(Directory.encode(Directory.fromPartial({})).finish())];
  for (let n = 1; n < depth; n++) {
    const child = { name: `d${n}`, digest: (chain[0] as Blob).digest.toMessage() };
    const parent = Directory.fromPartial({ directories: [child] });
    chain.unshift(blobOf(Directory.encode(parent).finish()));
  }
  return chain;
}

test('RCC-01: capabilities are told by executors and by caches, for each instance', async (t) => {
  for (const backend of ['scheduler', 'none']) {
    const { server } = await startFleet(t, `[execution]\nbackend = "${backend}"`);
    for (const instanceName of ['', 'main']) {
      const { cacheCapabilities } = await new ApiClient(
        t,
        server.address,
        instanceName,
      ).capabilities();
      assert.ok(cacheCapabilities, `${backend} ${instanceName}`);
    }
  }
});

test('recc and buildbox-casd with a server and its worker', async (t) => {
  const { server, worker } = await startFleet(t);
  await worker('one');
  const recc = new ApiClient(t, server.address);

  await t.test('RCC-02: batches as large as it makes them, and streams of 1 MiB', async () => {
    const { cacheCapabilities } = await recc.capabilities();
    const announced = cacheCapabilities?.maxBatchTotalSizeBytes ?? 0;
    const batchBytes = Math.min(announced || Infinity, 4 * 2 ** 20 - 64 * 2 ** 10);
    const halves = [0, 1].map((fill) => blobOf(Buffer.alloc(batchBytes / 2, fill)));
    await recc.put(...halves);
    const digests = halves.map(({ digest }) => digest.toMessage());
    const { responses } = await recc.batchRead({ digests });
    assert.deepEqual(
      responses.map(({ data }) => data.length),
      halves.map(({ bytes }) => bytes.length),
    );
    const { digest, bytes } = blobOf(Buffer.alloc(5 * 2 ** 20 + 1, 'x'));
    for (const what of ['new', 'there already']) {
      const size = await recc.write(`uploads/casd/blobs/${digest}`, bytes, 2 ** 20);
      assert.equal(size, digest.sizeBytes, what);
    }
  });

  await t.test('RCC-04: one stream of GetTree holds every directory', async () => {
    const chain = chainOf(30);
    await recc.put(...chain);
    for (const pageSize of [0, 1, 7]) {
      const pages = await recc.getTree({
        rootDigest: chain[0]?.digest.toMessage() ?? {},
        pageSize,
      });
      assert.equal(pages.at(-1)?.nextPageToken, '');
      const found = pages.flatMap(({ directories }) =>
        directories.map((directory) => blobOf(Directory.encode(directory).finish()).digest.hash),
      );
      assert.deepEqual(new Set(found), new Set(chain.map(({ digest }) => digest.hash)));
    }
  });

  await t.test(
    'RCC-06: the times of files are kept on inputs and told of outputs, and statistics of any kind are stored',
    async () => {
      const mtime = { seconds: 1_500_000_000, nanos: 0 };
      const source = blobOf('int x;\n');
      await recc.put(source);
      const command = {
        ...script('stat -c %Y x.c; cp -p x.c x.d'),
        outputPaths: ['x.d'],
        outputNodeProperties: ['mtime'],
      };
      const file = { name: 'x.c', digest: source.digest.toMessage(), nodeProperties: { mtime } };
      const ran = await recc.resultOf({ command, root: { files: [file] } });
      assert.equal(await recc.text(ran.stdoutDigest), '1500000000\n');
      assert.partialDeepStrictEqual(ran.outputFiles[0]?.nodeProperties?.mtime, mtime);

      const statistics = {
        typeUrl: 'type.googleapis.com/build.buildbox.ExecutionStatistics',
        value: Buffer.from('0a040a020801', 'hex'),
      };
      const outputFiles = [
        { path: 'x.d', digest: source.digest.toMessage(), nodeProperties: { mtime } },
      ];
      const actionResult = ActionResult.fromPartial({
        outputFiles,
        executionMetadata: { worker: 'buildbox', auxiliaryMetadata: [statistics] },
      });
      const actionDigest = await recc.putAction({ command: script('echo elsewhere') });
      await recc.updateActionResult({ actionDigest, actionResult });
      const stored = await recc.getActionResult({ actionDigest });
      assert.partialDeepStrictEqual(stored.executionMetadata?.auxiliaryMetadata, [statistics]);
      assert.partialDeepStrictEqual(stored.outputFiles[0]?.nodeProperties?.mtime, mtime);
    },
  );

  await t.test(
    'BST-08: a casd looks for what is missing, sends it, and has the whole tree back',
    async () => {
      const random = seededRandom(20);
      const large = blobOf(Uint8Array.from({ length: 5 * 2 ** 20 }, () => random() * 256));
      const small = blobOf('small');
      const sub = { files: [{ name: 'large', digest: large.digest.toMessage() }] };
      const subdirectory = blobOf(Directory.encode(Directory.fromPartial(sub)).finish());
      const root = blobOf(
        Directory.encode(
          Directory.fromPartial({
            files: [{ name: 'small', digest: small.digest.toMessage() }],
            directories: [{ name: 'sub', digest: subdirectory.digest.toMessage() }],
          }),
        ).finish(),
      );
      const all = [root, subdirectory, small, large];
      const blobDigests = all.map(({ digest }) => digest.toMessage());
      const before = await recc.findMissing({ blobDigests });
      assert.equal(before.missingBlobDigests.length, all.length);
      await recc.put(root, subdirectory, small);
      assert.equal(
        await recc.write(`uploads/casd/blobs/${large.digest}`, large.bytes, 2 ** 20),
        large.digest.sizeBytes,
      );
      const after = await recc.findMissing({ blobDigests });
      assert.deepEqual(after.missingBlobDigests, []);
      const pages = await recc.getTree({ rootDigest: root.digest.toMessage() });
      const directories = pages.flatMap((page) => page.directories);
      assert.deepEqual(
        new Set(directories.flatMap(({ files }) => files.map(({ name }) => name))),
        new Set(['small', 'large']),
      );
      assert.deepEqual(await recc.read(`blobs/${large.digest}`), Buffer.from(large.bytes));
    },
  );
});

test('RCC-05: what passes by itself is UNAVAILABLE, and says when to come back', async (t) => {
  const { rig, execute } = await startServices(t, 'recc');
  const waiting = execute((await rig.putAction()).toMessage());
  const { value: first } = await waiting.next();
  assert.equal(first?.done, false);
  rig.clock.advance(61_000);
  const { status } = endOf(await Array.fromAsync(waiting));
  assert.equal(status?.code, Code.UNAVAILABLE, 'no worker is connected');
  const detail = status.details.find(({ typeUrl }) => typeUrl.endsWith('/google.rpc.RetryInfo'));
  assert.ok((RetryInfo.decode(detail?.value ?? Buffer.of()).retryDelay?.seconds ?? 0) > 0);
});
