import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientHttp2Stream, connect, constants } from 'node:http2';
import { test, type TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { ReadRequest, ReadResponse } from '../../src/proto/google/bytestream/bytestream.ts';
import { defaultServerLimits } from '../../src/rpc/limits.ts';
import { type Method, serverStream, unary } from '../../src/rpc/method.ts';
import { framed } from '../fuzz/raw-calls.ts';
import { becomes } from '../support/appears.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { startServer } from '../support/start-server.ts';

const { unreadTimeoutMs } = defaultServerLimits;
/** More than the 64 KiB that a client takes unasked. */
const large = ReadResponse.fromPartial({ data: Buffer.alloc(2 ** 20) });

/** A call of `method` whose client reads nothing yet, and the clock of its server. */
async function call(t: TestContext, method: Method) {
  const clock = new FakeClock();
  const { listener } = await startServer(t, [[method]], { clock });
  const session = connect(`http://${listener.address}`).on('error', () => {});
  t.after(() => session.destroy());
  const headers = { 'content-type': 'application/grpc', te: 'trailers' };
  const stream = session.request({ ':method': 'POST', ':path': method.path, ...headers });
  stream.on('error', () => {}).end(framed(Buffer.of()));
  return { clock, stream };
}

/** Lets the time pass in which the server looks twice. */
async function look(clock: FakeClock): Promise<void> {
  for (let half = 0; half < 2; half++) {
    await clock.asleep(1);
    clock.advance(unreadTimeoutMs / 2);
    await setImmediate();
  }
}

async function endsUnread(clock: FakeClock, stream: ClientHttp2Stream): Promise<void> {
  await becomes(
    async () => {
      if (!stream.closed) await look(clock);
      return stream.closed;
    },
    (isClosed) => isClosed,
  );
  assert.equal(stream.rstCode, constants.NGHTTP2_CANCEL);
}

test('a download of which the client takes nothing ends, and what it is read from is left', async (t) => {
  const left = Promise.withResolvers<void>();
  const method = serverStream('/t.T/Read', ReadRequest, ReadResponse, async function* () {
    try {
      for (;;) yield large;
    } finally {
      left.resolve();
    }
  });
  const { clock, stream } = await call(t, method);
  await once(stream, 'response');
  await endsUnread(clock, stream);
  await left.promise;
});

test('so does a call whose only answer nobody takes', async (t) => {
  const method = unary('/t.T/Get', ReadRequest, ReadResponse, async () => large);
  const { clock, stream } = await call(t, method);
  await once(stream, 'response');
  await endsUnread(clock, stream);
});

test('a stream that waits for the server lives on, as does one that is read slowly', async (t) => {
  let next = Promise.withResolvers<void>();
  const method = serverStream('/t.T/Read', ReadRequest, ReadResponse, async function* () {
    for (let sent = 0; sent < 3; sent++) {
      await next.promise;
      next = Promise.withResolvers();
      yield large;
    }
  });
  const { clock, stream } = await call(t, method);
  let bytes = 0;
  stream.on('data', (part: Buffer) => (bytes += part.length)).pause();
  const trailers = once(stream, 'trailers');
  for (let sent = 1; sent <= 3; sent++) {
    for (let looks = 0; looks < 3; looks++) await look(clock);
    next.resolve();
    if (sent === 1) await once(stream, 'response');
    await clock.asleep(1);
    clock.advance(unreadTimeoutMs / 2);
    stream.resume();
    const isWhole = sent * 2 ** 20;
    await becomes(
      () => bytes,
      (all) => all > isWhole,
    );
    stream.pause();
  }
  stream.resume();
  const [{ 'grpc-status': status }] = (await trailers) as [Record<string, string>];
  assert.equal(status, '0');
});

test('a download in small messages goes on while the client takes some, and always more are there', async (t) => {
  const small = ReadResponse.fromPartial({ data: Buffer.alloc(10_000) });
  const method = serverStream('/t.T/Read', ReadRequest, ReadResponse, async function* () {
    for (;;) yield small;
  });
  const { clock, stream } = await call(t, method);
  let bytes = 0;
  stream.on('data', (part: Buffer) => (bytes += part.length)).pause();
  for (let looks = 0; looks < 8; looks++) {
    const before = bytes;
    stream.resume();
    await becomes(
      () => bytes > before + 200_000,
      (isMore) => isMore,
    );
    stream.pause();
    await clock.asleep(1);
    clock.advance(unreadTimeoutMs / 2);
  }
  assert.equal(stream.closed, false);
  await endsUnread(clock, stream);
});
