import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import { chunksOf, collect } from '../../src/base/chunks.ts';
import {
  Compressor_Value,
  ServerCapabilities,
} from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { ReadResponse, WriteResponse } from '../../src/proto/google/bytestream/bytestream.ts';
import { remoteBlobStore } from '../../src/rpc/stubs/remote-blob-store.ts';
import { transferCodecsOf } from '../../src/rpc/stubs/remote-capabilities.ts';
import { connectTo } from '../rpc/stubs/fake-server.ts';
import { blobOf } from '../support/blob-of.ts';
import { keepLines } from '../support/keep-lines.ts';
import { never } from '../support/never.ts';
import { runCli } from '../support/run-cli.ts';
import { startTestServer } from '../support/start-expbuild-server.ts';
import { tempDir } from '../support/temp-dir.ts';

test('MD-04: the calls of one run of our client are one invocation in the log of the server', async (t) => {
  const folder = tempDir(t);
  const { log, lines } = keepLines();
  const { address } = await startTestServer(t, { folder, log });
  const file = path.join(folder, 'file');
  writeFileSync(file, 'content');
  const environment = { EXPBUILD_REMOTE_ENDPOINT: address };
  const runs: Set<unknown>[] = [];
  for (let n = 0; n < 2; n++) {
    lines.length = 0;
    const { exitCode, stderr } = await runCli(['upload', file], { folder, environment });
    assert.equal(exitCode, 0, stderr);
    const calls = lines.filter(({ method }) => method !== undefined);
    assert.ok(calls.length > 1);
    assert.deepEqual(new Set(calls.map(({ tool }) => tool)), new Set(['expbuild']));
    runs.push(new Set(calls.map(({ invocation }) => invocation)));
  }
  assert.deepEqual(
    runs.map(({ size }) => size),
    [1, 1],
  );
  assert.notDeepEqual(runs[0], runs[1]);
});

interface Seen {
  readonly encoding: string | undefined;
  /** The first byte, 1 where gRPC compressed the first message. */
  readonly flag: number | undefined;
  readonly message: Buffer;
}

/** A server that answers each method with a message, and tells how the request came. */
async function startPeer(t: TestContext, answers: ReadonlyMap<string, Uint8Array>) {
  const seen = new Map<string, Seen>();
  const server = http2.createServer();
  server.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
    const method = String(headers[':path']);
    const parts: Buffer[] = [];
    stream.on('data', (part: Buffer) => parts.push(part));
    stream.on('end', () => {
      const encoding = headers['grpc-encoding'] as string | undefined;
      const message = Buffer.concat(parts);
      seen.set(method, { encoding, flag: message[0], message });
      const answer = answers.get(method) ?? Buffer.of();
      const prefix = Buffer.alloc(5);
      prefix.writeUInt32BE(answer.length, 1);
      stream.respond(
        { ':status': 200, 'content-type': 'application/grpc' },
        { waitForTrailers: true },
      );
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.end(Buffer.concat([prefix, answer]));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return { seen, address: `127.0.0.1:${(server.address() as AddressInfo).port}` };
}

test('CMP-12: what our client reads and writes compressed is not compressed again by gRPC', async (t) => {
  const { digest, bytes } = blobOf('compressible '.repeat(100_000));
  const written = WriteResponse.fromPartial({ committedSize: -1 });
  const read = ReadResponse.fromPartial({ data: zstdCompressSync(bytes) });
  const answers = new Map<string, Uint8Array>([
    ['/google.bytestream.ByteStream/Write', WriteResponse.encode(written).finish()],
    ['/google.bytestream.ByteStream/Read', ReadResponse.encode(read).finish()],
  ]);
  const { seen, address } = await startPeer(t, answers);
  const supportedCompressors = [Compressor_Value.ZSTD];
  const capabilities = ServerCapabilities.fromPartial({
    cacheCapabilities: { supportedCompressors },
  });
  const blobs = remoteBlobStore(
    {
      channel: connectTo(t, address),
      instanceName: 'main',
      limits: { batchSizeBytesMax: 1000, blobSizeBytesMax: Infinity },
      codecs: transferCodecsOf(capabilities, 'zstd'),
      uploadChunking: undefined,
    },
    () => 'upload-1',
  );
  await blobs.write(digest, chunksOf(bytes), never);
  assert.deepEqual(Buffer.from(await collect(blobs.read(digest, 0, never))), Buffer.from(bytes));
  for (const method of answers.keys()) {
    const { encoding = 'identity', flag, message } = seen.get(method) ?? {};
    assert.deepEqual([encoding, flag], ['identity', 0], method);
    assert.ok(message?.includes('compressed-blobs/zstd/'), method);
  }
});
