import type { BinaryReader } from '@bufbuild/protobuf/wire';
import type { ServiceError } from '@grpc/grpc-js';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test, type TestContext } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { ReadRequest, WriteRequest } from '../../src/proto/google/bytestream/bytestream.ts';
import { FindMissingBlobsRequest } from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { Instances } from '../../src/rpc/instances.ts';
import type { Method } from '../../src/rpc/method.ts';
import { actionCache } from '../../src/rpc/services/action-cache.ts';
import { byteStream } from '../../src/rpc/services/byte-stream.ts';
import { capabilities } from '../../src/rpc/services/capabilities.ts';
import { contentAddressableStorage } from '../../src/rpc/services/content-addressable-storage.ts';
import { execution } from '../../src/rpc/services/execution.ts';
import { health } from '../../src/rpc/services/health.ts';
import { operations } from '../../src/rpc/services/operations.ts';
import { reflection } from '../../src/rpc/services/reflection.ts';
import { worker } from '../../src/rpc/services/worker.ts';
import { ExecutionRig } from '../execution/rig.ts';
import { blobOf } from '../support/blob-of.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { never } from '../support/never.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { startServer } from '../support/start-server.ts';
import type { CallOptions, TestClient } from '../support/test-client.ts';
import { testInstance } from '../support/test-instance.ts';

const { digest } = blobOf('x');

async function start(t: TestContext) {
  const rig = new ExecutionRig(t);
  const { blobs, actions, execution: port, scheduler } = rig;
  const rooms = { blobs, actions, execution: port, operations: scheduler };
  const instances = new Instances([testInstance(rooms), testInstance({ name: 'main', ...rooms })]);
  const services = [
    contentAddressableStorage(instances),
    byteStream(instances),
    actionCache(instances, new FakeClock()),
    execution(instances),
    operations(instances, new FakeClock()),
    worker(scheduler),
    health([], never),
    reflection([]),
  ];
  services.unshift(capabilities(instances, services.flat()));
  const { client, listener } = await startServer(t, services);
  const seed = Number(process.hrtime.bigint() % 1_000_000n);
  t.diagnostic(`seed ${seed}`);
  return { client, listener, methods: services.flat(), random: seededRandom(seed) };
}

/** The call's code, which is never one that says that the server is at fault (ERR-02). */
async function codeOf(call: Promise<unknown>, what: () => string): Promise<number> {
  try {
    await call;
    return Code.OK;
  } catch (thrown) {
    const { code, message } = thrown as ServiceError;
    assert.notEqual(code, Code.UNKNOWN, `${what()}: ${message}`);
    assert.notEqual(code, Code.INTERNAL, `${what()}: ${message}`);
    assert.notEqual(code, Code.DEADLINE_EXCEEDED, `${what()}: ${message}`);
    return code;
  }
}

const asIs = {
  encode: (bytes: Uint8Array) => ({ finish: () => bytes }),
  decode: (reader: BinaryReader) => {
    reader.pos = reader.len;
  },
};

/** Sends the bytes as the requests of any method, and waits for its end, or what begins to last. */
async function send(
  client: TestClient,
  { kind, path, lasting }: Method,
  messages: readonly Uint8Array[],
  options: CallOptions = {},
): Promise<void> {
  const [first = new Uint8Array()] = messages;
  const timely = { deadlineMs: 10_000, ...options };
  if (kind === 'unary') await client.raw(path, first, timely);
  else if (kind === 'client-stream') {
    const { call, response } = client.clientStream(path, asIs, asIs, timely);
    for (const message of messages) call.write(message);
    call.end();
    await response;
  } else if (kind === 'server-stream') {
    for await (const response of client.rawStream(path, first, timely)) {
      assert.ok(response.length >= 0);
      if (lasting) return;
    }
  } else {
    const call = client.bidi(path, asIs, asIs, timely);
    for (const message of messages) call.write(message);
    call.end();
    call.resume();
    await once(call, 'end');
  }
}

function randomBytes(random: () => number): Uint8Array {
  const bytes = Buffer.alloc(Math.floor(random() * 40));
  for (let at = 0; at < bytes.length; at++) bytes[at] = Math.floor(random() * 256);
  return bytes;
}

/** A well-formed message of a few fields that may mean something, and may not. */
function randomMessage(random: () => number, depth = 0): Buffer {
  const parts: Buffer[] = [];
  for (let fields = Math.floor(random() * 5); fields > 0; fields--) {
    const field = 1 + Math.floor(random() * 12);
    const choice = Math.floor(random() * 4);
    if (choice === 0) {
      parts.push(Buffer.from([field << 3, Math.floor(random() * 128)]));
    } else if (choice === 1) {
      parts.push(Buffer.from([field << 3]), Buffer.alloc(9, 0xff), Buffer.from([0x01]));
    } else {
      const words = ['main', '', digest.hash, 'operations/x', `blobs/${digest}`, '\u0000', '../..'];
      const word = Buffer.from(words[Math.floor(random() * words.length)] ?? '');
      const value = depth < 3 && random() < 0.5 ? randomMessage(random, depth + 1) : word;
      const kept = value.subarray(0, 127);
      parts.push(Buffer.from([(field << 3) | 2, kept.length]), kept);
    }
  }
  return Buffer.concat(parts);
}

for (const [what, random] of [
  ['bytes', randomBytes],
  ['messages', randomMessage],
] as const) {
  test(`ERR-02, DS-07: random ${what} are answered by every method`, async (t) => {
    const { client, methods, random: chance } = await start(t);
    for (const method of methods) {
      const calls = Array.from({ length: 60 }, () => {
        const messages = [random(chance), random(chance)];
        return codeOf(
          send(client, method, messages),
          () =>
            `${method.path} ${messages.map((bytes) => Buffer.from(bytes).toString('hex')).join()}`,
        );
      });
      await Promise.all(calls);
    }
    await client.raw('/build.bazel.remote.execution.v2.Capabilities/GetCapabilities', Buffer.of());
  });
}

test('BS-01, HI-19: random resource names are answered', async (t) => {
  const { client, methods, random } = await start(t);
  const words = [
    'blobs',
    'uploads',
    'compressed-blobs',
    'zstd',
    'identity',
    'brotli',
    'u',
    'main',
    '',
  ];
  words.push(
    'blake3',
    'sha256',
    digest.hash,
    '1',
    '01',
    '-1',
    '99999999999999999999',
    '%2e',
    '\ud800',
  );
  const byName = methods.filter(({ path }) => path.startsWith('/google.bytestream.ByteStream/'));
  const seen = new Set<number>();
  for (let round = 0; round < 400; round++) {
    const length = Math.floor(random() * 8);
    const segments = Array.from({ length }, () => words[Math.floor(random() * words.length)]);
    const resourceName = segments.join('/');
    const method = byName[round % byName.length];
    assert.ok(method);
    const message =
      method.kind === 'client-stream'
        ? WriteRequest.encode(WriteRequest.fromPartial({ resourceName, finishWrite: true }))
        : ReadRequest.encode(ReadRequest.fromPartial({ resourceName }));
    const call = send(client, method, [message.finish()]);
    seen.add(await codeOf(call, () => `${method.path} ${resourceName}`));
  }
  assert.ok(seen.has(Code.INVALID_ARGUMENT));
});

test('MD-02, HI-21: random request metadata changes no answer', async (t) => {
  const { client, methods, random } = await start(t);
  const method = methods.find(({ path }) => path.endsWith('/FindMissingBlobs'));
  assert.ok(method);
  const request = FindMissingBlobsRequest.fromPartial({ blobDigests: [digest.toMessage()] });
  const bytes = FindMissingBlobsRequest.encode(request).finish();
  for (let round = 0; round < 200; round++) {
    const value = Buffer.from(round % 2 === 0 ? randomBytes(random) : randomMessage(random));
    const metadata = { 'build.bazel.remote.execution.v2.requestmetadata-bin': value };
    await send(client, method, [bytes], { metadata });
  }
});

test('HI-31: messages inside messages without end are INVALID_ARGUMENT', async (t) => {
  const { client, methods } = await start(t);
  const groups = Buffer.alloc(100_000, 0x0b);
  for (const method of methods.filter(({ kind }) => kind === 'unary')) {
    const code = await codeOf(send(client, method, [groups]), () => method.path);
    assert.equal(code, Code.INVALID_ARGUMENT, method.path);
  }
});

test('DS-05, DS-07: what is no HTTP/2, or breaks off anywhere, leaves the server alive', async (t) => {
  const { client, listener, random } = await start(t);
  const [, port] = listener.address.split(':');
  // The preface, empty settings, and a request that would be answered.
  const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
  const frames: Buffer[] = [Buffer.from('GET / HTTP/1.1\r\n\r\n')];
  for (let round = 0; round < 60; round++) {
    const nonsense = Buffer.concat(Array.from({ length: 5 }, () => randomBytes(random)));
    const whole = Buffer.concat([preface, settings, nonsense]);
    frames.push(nonsense, whole, whole.subarray(0, Math.floor(random() * whole.length)));
  }
  for (const bytes of frames) {
    const socket = connect({ host: '127.0.0.1', port: Number(port) });
    socket.on('error', () => {});
    socket.resume();
    socket.end(bytes);
    await once(socket, 'close');
  }
  await client.raw('/build.bazel.remote.execution.v2.Capabilities/GetCapabilities', Buffer.of());
});
