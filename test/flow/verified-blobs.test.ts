import assert from 'node:assert/strict';
import { chmodSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { sha256 } from '../../src/digest/digest-functions.ts';
import { Digest } from '../../src/digest/digest.ts';
import { ApiClient } from '../support/api-client.ts';
import { comesTrue } from '../support/appears.ts';
import { blobOf } from '../support/blob-of.ts';
import { inReverse } from '../support/in-reverse.ts';
import { keepLines } from '../support/keep-lines.ts';
import { randomBytes } from '../support/seeded-random.ts';
import { startTestServer } from '../support/start-expbuild-server.ts';
import { tempDir } from '../support/temp-dir.ts';

test('CI-06: a bit that flips in a blob nobody reads ends the cache hit and the spliced blob that need it', async (context) => {
  const t = inReverse(context);
  const folder = tempDir(t);
  const { log, lines } = keepLines();
  const start = (verifyInterval: string) =>
    startTestServer(t, {
      folder,
      log,
      toml: `[cas_storage]\nverify_interval = "${verifyInterval}"`,
    });
  const before = await start('0s');
  const api = new ApiClient(t, before.address);
  const parts = [randomBytes(100_000, 1), randomBytes(100_000, 2)].map(blobOf);
  for (const part of parts) await api.put(part);
  const spliced = Digest.ofBytes(sha256, Buffer.concat(parts.map(({ bytes }) => bytes)));
  const [output] = parts as [(typeof parts)[0]];
  const chunkDigests = parts.map(({ digest }) => digest.toMessage());
  await api.spliceBlob({ blobDigest: spliced.toMessage(), chunkDigests });
  const actionDigest = blobOf('an action').digest.toMessage();
  const outputFiles = [{ path: 'out', digest: output.digest.toMessage() }];
  await api.updateActionResult({ actionDigest, actionResult: { outputFiles } });
  await api.getActionResult({ actionDigest });

  const cas = path.join(folder, 'data', 'cas');
  const [file = ''] = globSync(`blobs-v1/*/*/*/${output.digest.hash}-*`, { cwd: cas });
  const damagedFile = path.join(cas, file);
  const bytes = readFileSync(damagedFile);
  bytes[50_000] = (bytes[50_000] ?? 0) ^ 1;
  chmodSync(damagedFile, 0o644);
  writeFileSync(damagedFile, bytes);
  await before.stop();
  const { address } = await start('1s');
  await comesTrue(path.join(cas, 'quarantine'), () =>
    lines.some(({ path: damaged }) => damaged === damagedFile),
  );

  const later = new ApiClient(t, address);
  const blobDigests = [spliced.toMessage(), ...chunkDigests];
  const { missingBlobDigests } = await later.findMissing({ blobDigests });
  assert.deepEqual(
    missingBlobDigests.map(({ hash }) => hash),
    [spliced.hash, output.digest.hash],
  );
  await assert.rejects(later.getActionResult({ actionDigest }), { code: Code.NOT_FOUND });
  const [told] = lines.filter(({ level }) => level === 'error');
  assert.equal(told?.digest, output.digest.key);
  assert.equal(told?.damagedBlobs, 1);
});

test('CC-07: a server that has lost its index of blobs has its cache hits again, without a build', async (context) => {
  const t = inReverse(context);
  const folder = tempDir(t);
  const before = await startTestServer(t, { folder });
  const api = new ApiClient(t, before.address);
  const output = blobOf(randomBytes(2_000_000, 1));
  await api.put(output);
  const actionDigest = blobOf('an action').digest.toMessage();
  const outputFiles = [{ path: 'out', digest: output.digest.toMessage() }];
  await api.updateActionResult({ actionDigest, actionResult: { outputFiles } });
  const spliced = blobOf(Buffer.concat([output.bytes, output.bytes]));
  await api.spliceBlob({
    blobDigest: spliced.digest.toMessage(),
    chunkDigests: [output.digest.toMessage(), output.digest.toMessage()],
  });
  await before.stop();
  writeFileSync(path.join(folder, 'data', 'cas', 'index.db'), 'garbage, and not even long');

  const { address } = await startTestServer(t, { folder });
  const later = new ApiClient(t, address);
  const isMissing = async () => {
    const { missingBlobDigests } = await later.findMissing({
      blobDigests: [output.digest.toMessage(), spliced.digest.toMessage()],
    });
    return missingBlobDigests.length > 0;
  };
  const deadline = AbortSignal.timeout(60_000);
  while (await isMissing()) deadline.throwIfAborted();
  const result = await later.getActionResult({ actionDigest });
  assert.equal(result.outputFiles[0]?.digest?.hash, output.digest.hash);
  for (const { digest } of [output, spliced]) {
    assert.equal(blobOf(await later.read(`blobs/${digest}`)).digest.hash, digest.hash);
  }
});
