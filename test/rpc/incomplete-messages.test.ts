import assert from 'node:assert/strict';
import type { ServiceError } from '@grpc/grpc-js';
import { once } from 'node:events';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
} from 'node:http2';
import { test, type TestContext } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { ReadRequest, ReadResponse } from '../../src/proto/google/bytestream/bytestream.ts';
import { clientStream, unary } from '../../src/rpc/method.ts';
import { framed } from '../fuzz/raw-calls.ts';
import { startServer } from '../support/start-server.ts';

const MIB = 2 ** 20;
const nothing = ReadRequest.fromPartial({});
const answer = ReadResponse.fromPartial({});
const echo = unary('/t.T/Echo', ReadRequest, ReadResponse, async () => answer);

function open(session: ClientHttp2Session, path = echo.path): ClientHttp2Stream {
  const headers = { 'content-type': 'application/grpc', te: 'trailers' };
  const stream = session.request({ ':method': 'POST', ':path': path, ...headers });
  return stream.on('error', () => {});
}

/** One of at least so many bytes. */
function message(sizeBytes: number): Buffer {
  const resourceName = 'x'.repeat(sizeBytes);
  return framed(Buffer.from(ReadRequest.encode({ ...nothing, resourceName }).finish()));
}

async function status(stream: ClientHttp2Stream): Promise<number> {
  const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders];
  if (headers['grpc-status'] !== undefined) return Number(headers['grpc-status']);
  stream.resume();
  const [trailers] = (await once(stream, 'trailers')) as [IncomingHttpHeaders];
  return Number(trailers['grpc-status']);
}

function sessionOf(t: TestContext, address: string): ClientHttp2Session {
  const session = connect(`http://${address}`);
  t.after(() => session.destroy());
  return session.on('error', () => {});
}

/** Resolves when they have left, or the call has ended. */
async function written(stream: ClientHttp2Stream, bytes: Buffer): Promise<void> {
  await new Promise<void>((resolve) => stream.write(bytes, () => resolve()));
}

/** Resolves when the server has taken what was sent on the connection before. */
async function taken(session: ClientHttp2Session): Promise<void> {
  await new Promise((resolve) => session.ping(resolve));
}

test('calls that stop within a message are ended when they hold too much, the longest silent first', async (t) => {
  const { listener } = await startServer(t, [[echo]], { limits: { incompleteBytesMax: 4 * MIB } });
  const [attacker, other] = [sessionOf(t, listener.address), sessionOf(t, listener.address)];
  const slow = open(other);
  const bytes = message(MIB);
  const pieces = 100;
  const pieceBytes = Math.ceil(bytes.length / pieces);
  const codes: number[] = [];
  for (let piece = 0; piece < pieces; piece++) {
    const held = open(attacker);
    held.resume().once('close', () => codes.push(held.rstCode ?? 0));
    await written(held, bytes.subarray(0, MIB / 2));
    await written(slow, bytes.subarray(piece * pieceBytes, (piece + 1) * pieceBytes));
    await Promise.all([taken(attacker), taken(other)]);
  }
  slow.end();
  assert.equal(await status(slow), Code.OK);
  assert.ok(codes.length > 80, `${codes.length} calls were ended`);
  assert.deepEqual(new Set(codes), new Set([constants.NGHTTP2_ENHANCE_YOUR_CALM]));
});

test('what a client held is free when it has gone', async (t) => {
  const { listener } = await startServer(t, [[echo]], { limits: { incompleteBytesMax: 2 * MIB } });
  const bytes = message(MIB);
  const patient = open(sessionOf(t, listener.address));
  patient.write(bytes.subarray(0, 10));
  for (let round = 0; round < 10; round++) {
    const session = sessionOf(t, listener.address);
    const held = open(session);
    await written(held, bytes.subarray(0, MIB - 10));
    await taken(session);
    session.destroy();
    await once(session, 'close');
  }
  patient.end(bytes.subarray(10));
  assert.equal(await status(patient), Code.OK);
});

test('messages count no more once they are complete, however they are cut', async (t) => {
  let received = 0;
  const count = clientStream('/t.T/Count', ReadRequest, ReadResponse, async (requests) => {
    for await (const _ of requests) received += 1;
    return answer;
  });
  const { listener } = await startServer(t, [[count]], { limits: { incompleteBytesMax: MIB / 8 } });
  const session = sessionOf(t, listener.address);
  const stream = open(session, count.path);
  for (let sizeBytes = 0; sizeBytes < 10; sizeBytes += 2) {
    for (const byte of message(sizeBytes)) {
      stream.write(Buffer.of(byte));
      await taken(session);
    }
  }
  const many = Buffer.concat([0, 2, 300, 70_000, 0].map(message));
  for (let cut = 1000; cut < many.length; cut += 7000) {
    stream.write(many.subarray(0, cut));
    await taken(session);
    stream.write(many.subarray(cut));
  }
  stream.end();
  assert.equal(await status(stream), Code.OK);
  assert.equal(received, 5 + 5 * Math.ceil((many.length - 1000) / 7000));
});

test('a client whose call is ended for that sees an error after which clients try again', async (t) => {
  const limits = { incompleteBytesMax: MIB };
  const { client } = await startServer(t, [[echo]], { limits });
  const request = { ...nothing, resourceName: 'x'.repeat(4 * MIB) };
  const call = client.unary(echo.path, ReadRequest, ReadResponse, request);
  // The second from grpc-js, when it is still writing.
  const codes: readonly unknown[] = [Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE];
  await assert.rejects(call, ({ code }: ServiceError) => codes.includes(code));
});
