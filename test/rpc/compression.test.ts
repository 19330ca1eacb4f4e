import assert from 'node:assert/strict';
import { test } from 'node:test';
import { constants, deflateRawSync, zstdCompressSync } from 'node:zlib';
import { Instances } from '../../src/rpc/instances.ts';
import { byteStream } from '../../src/rpc/services/byte-stream.ts';
import { ApiClient } from '../support/api-client.ts';
import { blobOf } from '../support/blob-of.ts';
import { startServer } from '../support/start-server.ts';
import { testInstance } from '../support/test-instance.ts';

const { digest, bytes } = blobOf('the quick brown fox jumps over the lazy dog. '.repeat(1000));
const zstdAt = (level: number) =>
  zstdCompressSync(bytes, { params: { [constants.ZSTD_c_compressionLevel]: level } });

for (const [what, compressor, packed] of [
  ['zstd at its fastest', 'zstd', zstdAt(1)],
  ['zstd at its best', 'zstd', zstdAt(19)],
  ['deflate that only stores', 'deflate', deflateRawSync(bytes, { level: 0 })],
] as const) {
  test(`CMP-10: takes ${what}`, async (t) => {
    const instances = new Instances([testInstance({ name: 'main' })]);
    const { listener } = await startServer(t, [byteStream(instances)]);
    const client = new ApiClient(t, listener.address);
    const name = `uploads/u/compressed-blobs/${compressor}/${digest}`;
    assert.equal(await client.write(name, packed), packed.length);
    assert.deepEqual(await client.read(`blobs/${digest}`), Buffer.from(bytes));
  });
}
