import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectHttp2, type ClientHttp2Stream, constants } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { ReadRequest, ReadResponse } from '../../src/proto/google/bytestream/bytestream.ts';
import { clientStream, unary } from '../../src/rpc/method.ts';
import { startServer } from '../support/start-server.ts';

const answer = ReadResponse.fromPartial({});

/** A call that is given no more than its headers; its client decides when to end it. */
function open(t: TestContext, address: string, path: string): ClientHttp2Stream {
  const session = connectHttp2(`http://${address}`);
  session.on('error', () => {});
  t.after(() => session.destroy());
  const stream = session.request(
    { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' },
    { endStream: false },
  );
  return stream.on('error', () => {});
}

test('BS-40: a client that sends on after an early answer has it, and is stopped', async (t) => {
  const early = clientStream('/t.T/Early', ReadRequest, ReadResponse, async () => answer);
  const { listener } = await startServer(t, [[early]], { limits: { streamWindowBytes: 2 ** 20 } });
  const stream = open(t, listener.address, early.path);
  const trailers = once(stream, 'trailers') as Promise<[Record<string, string>]>;
  stream.resume();
  const message = Buffer.alloc(5 + 2 ** 16);
  message.writeUInt32BE(2 ** 16, 1);
  let sentBytes = 0;
  let room = Promise.withResolvers<void>();
  stream.on('drain', () => room.resolve()).on('close', () => room.resolve());
  while (!stream.closed && sentBytes < 2 ** 26) {
    const isRoom = stream.write(message);
    sentBytes += message.length;
    if (isRoom) continue;
    await room.promise;
    room = Promise.withResolvers();
  }
  assert.equal((await trailers)[0]['grpc-status'], '0');
  assert.ok(stream.closed, `${sentBytes} bytes were taken after the answer`);
  assert.equal(stream.rstCode, constants.NGHTTP2_NO_ERROR);
});

test('a client may cancel thousands of calls at once, and its connection lives', async (t) => {
  const early = clientStream('/t.T/Early', ReadRequest, ReadResponse, async () => answer);
  const { listener } = await startServer(t, [[early]]);
  const session = connectHttp2(`http://${listener.address}`);
  t.after(() => session.destroy());
  let ended: number | undefined;
  session.on('error', () => {}).on('goaway', (code: number) => (ended = code));
  // A server that has no other limits closes the connection after 1000.
  for (let round = 0; round < 12; round++) {
    const calls = Array.from({ length: 500 }, async () => {
      const stream = session.request(
        { ':method': 'POST', ':path': early.path, 'content-type': 'application/grpc' },
        { endStream: false },
      );
      stream.on('error', () => {});
      stream.write(Buffer.alloc(5), () => stream.close(constants.NGHTTP2_CANCEL));
      await once(stream, 'close');
    });
    await Promise.all(calls);
    assert.equal(ended, undefined, `closed in round ${round}`);
  }
});

test('no more connections are taken than the limit', async (t) => {
  const echo = unary('/t.T/Echo', ReadRequest, ReadResponse, async () => answer);
  const { listener, client } = await startServer(t, [[echo]], { limits: { connectionsMax: 2 } });
  await client.raw(echo.path, new Uint8Array());
  const taken = silent(t, listener.address);
  await once(taken, 'connect');
  await once(silent(t, listener.address).resume(), 'close');
  assert.equal(taken.closed, false);
  await client.raw(echo.path, new Uint8Array());
});

test('GEN-22: closing does not wait for a client that says nothing', async (t) => {
  const { listener } = await startServer(t, []);
  await once(silent(t, listener.address), 'connect');
  await listener.close(100);
});

/** A connection whose client neither speaks nor reads. */
function silent(t: TestContext, address: string): Socket {
  const socket = connect({ host: '127.0.0.1', port: Number(address.split(':')[1]) });
  t.after(() => socket.destroy());
  return socket.on('error', () => {});
}
