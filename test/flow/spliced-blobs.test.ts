import assert from 'node:assert/strict';
import { globSync, statSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { sha256 } from '../../src/digest/digest-functions.ts';
import { Digest } from '../../src/digest/digest.ts';
import { ApiClient } from '../support/api-client.ts';
import { inReverse } from '../support/in-reverse.ts';
import { randomBytes } from '../support/seeded-random.ts';
import { startTestServer } from '../support/start-expbuild-server.ts';
import { tempDir } from '../support/temp-dir.ts';

test('CDC-15: versions of a spliced blob share their chunks on the disk, and outlive a restart', async (context) => {
  const t = inReverse(context);
  const folder = tempDir(t);
  const server = await startTestServer(t, { folder });
  const api = new ApiClient(t, server.address);
  const shared = Array.from({ length: 30 }, (_, n) => randomBytes(50_000, n));
  const blobs: { bytes: Buffer; digest: Digest }[] = [];
  for (let version = 0; version < 10; version += 1) {
    const parts = [...shared, randomBytes(50_000, 1_000 + version)];
    const bytes = Buffer.concat(parts);
    const chunks = parts.map((part) => ({
      digest: Digest.ofBytes(sha256, part).toMessage(),
      data: part,
    }));
    await api.batchUpdate({ requests: chunks });
    const digest = Digest.ofBytes(sha256, bytes);
    const chunkDigests = chunks.map((chunk) => chunk.digest);
    const answer = await api.spliceBlob({ blobDigest: digest.toMessage(), chunkDigests });
    assert.deepEqual(answer.blobDigest?.hash, digest.hash);
    blobs.push({ bytes, digest });
  }
  const files = globSync('**/*', { cwd: path.join(folder, 'data') });
  const sizes = files.map((file) => statSync(path.join(folder, 'data', file)));
  const storedBytes = sizes.reduce((sum, file) => sum + (file.isFile() ? file.size : 0), 0);
  // Ten versions are 15.5 MB, their chunks 2 MB.
  assert.ok(storedBytes < 5_000_000, `${storedBytes} bytes are stored`);

  await server.stop();
  const { address } = await startTestServer(t, { folder });
  const later = new ApiClient(t, address);
  const blobDigests = blobs.map(({ digest }) => digest.toMessage());
  assert.deepEqual((await later.findMissing({ blobDigests })).missingBlobDigests, []);
  for (const { bytes, digest } of blobs) {
    assert.ok(bytes.equals(await later.read(`blobs/${digest}`)));
    const tail = await later.read(`blobs/${digest}`, 75_000);
    assert.ok(bytes.subarray(75_000).equals(tail));
  }
});
