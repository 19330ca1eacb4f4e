import assert from 'node:assert/strict';
import type { ServiceError } from '@grpc/grpc-js';
import { once } from 'node:events';
import { connect } from 'node:http2';
import { test } from 'node:test';
import { systemClock } from '../../src/base/clock.ts';
import { createLog, silentLog } from '../../src/base/log.ts';
import { Code, StatusError } from '../../src/base/status.ts';
import { RequestMetadata } from '../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { ReadRequest, ReadResponse } from '../../src/proto/google/bytestream/bytestream.ts';
import { Status } from '../../src/proto/google/rpc/status.ts';
import { grpcError } from '../../src/rpc/grpc-status.ts';
import { listen } from '../../src/rpc/grpc-server.ts';
import { defaultServerLimits } from '../../src/rpc/limits.ts';
import { bidi, type Call, clientStream, serverStream, unary } from '../../src/rpc/method.ts';
import { startServer } from '../support/start-server.ts';

const bytesOf = (text: string) => ReadResponse.fromPartial({ data: Buffer.from(text) });
const request = ReadRequest.fromPartial({ resourceName: 'x' });

const echo = unary('/t.T/Echo', ReadRequest, ReadResponse, async ({ resourceName }) =>
  bytesOf(resourceName),
);

function failing(error: unknown) {
  return unary('/t.T/Fail', ReadRequest, ReadResponse, async () => {
    throw error;
  });
}

test('answers a unary call', async (t) => {
  const { client } = await startServer(t, [[echo]]);
  const response = await client.unary('/t.T/Echo', ReadRequest, ReadResponse, request);
  assert.deepEqual(Buffer.from(response.data), Buffer.from('x'));
});

test('GEN-10: an unknown method is UNIMPLEMENTED', async (t) => {
  const { client } = await startServer(t, [[echo]]);
  await assert.rejects(client.raw('/t.T/Other', new Uint8Array()), { code: Code.UNIMPLEMENTED });
});

test('ERR-02: bytes that are no message are INVALID_ARGUMENT and name the method', async (t) => {
  const { client } = await startServer(t, [[echo]]);
  for (const bytes of [[0xff], [0x0a, 0x05, 0x61], [0x0a, 0x01, 0xff]]) {
    await assert.rejects(client.raw('/t.T/Echo', Uint8Array.from(bytes)), {
      code: Code.INVALID_ARGUMENT,
      message: /\/t\.T\/Echo/,
    });
  }
});

test('GEN-07: details travel in the trailer, with the code and text of the status', async (t) => {
  const detail = { typeUrl: 'type.googleapis.com/t.T', value: Buffer.from('abc') };
  const error = new StatusError(Code.FAILED_PRECONDITION, 'it is not so', { details: [detail] });
  const { client } = await startServer(t, [[failing(error)]]);
  await assert.rejects(client.raw('/t.T/Fail', new Uint8Array()), (thrown) => {
    const { code, details, metadata } = thrown as ServiceError;
    assert.equal(code, Code.FAILED_PRECONDITION);
    assert.match(details, /^it is not so \(request .+\)$/);
    const status = Status.decode(metadata.get('grpc-status-details-bin')[0] as Buffer);
    assert.equal(status.code, code);
    assert.equal(status.message, details);
    assert.equal(status.details[0]?.typeUrl, detail.typeUrl);
    assert.deepEqual(Buffer.from(status.details[0]?.value ?? []), detail.value);
    return true;
  });
});

test('details and texts that no trailer holds are left out or cut, and the code still arrives', async (t) => {
  const detail = { typeUrl: 'type.googleapis.com/t.T', value: Buffer.alloc(100_000) };
  const error = new StatusError(Code.FAILED_PRECONDITION, 'long '.repeat(50_000), {
    details: [detail],
  });
  const { client } = await startServer(t, [[failing(error)]]);
  await assert.rejects(client.raw('/t.T/Fail', new Uint8Array()), {
    code: Code.FAILED_PRECONDITION,
  });
});

test('a text in letters that travel as nine bytes each is cut to what trailers hold', () => {
  const detail = { typeUrl: 'type.googleapis.com/t.T', value: Buffer.alloc(2000) };
  for (const text of ['\u6f22'.repeat(5000), `a${'\u{1f600}'.repeat(5000)}`, '" '.repeat(5000)]) {
    const error = new StatusError(Code.FAILED_PRECONDITION, text, { details: [detail] });
    const { details, metadata } = grpcError(error, 'some-id');
    const bytes =
      encodeURI(details).length + Object.values(metadata.toHttp2Headers()).join().length;
    assert.ok(bytes < 8192 - 500, `${bytes} bytes, and the other headers`);
    const [shown = ''] = details.split(' (request some-id)');
    assert.ok(text.startsWith(shown) && shown.length > 200, details);
  }
});

for (const [what, error] of [
  ['an error of no kind we know', new TypeError('x is not a function')],
  ['something that is no error', 'a string'],
  ['half a surrogate pair', new Error('\ud800')],
] as const) {
  test(`${what} becomes INTERNAL, and the server lives`, async (t) => {
    const { client } = await startServer(t, [[failing(error), echo]]);
    await assert.rejects(client.raw('/t.T/Fail', new Uint8Array()), { code: Code.INTERNAL });
    await client.raw('/t.T/Echo', new Uint8Array());
  });
}

test('GEN-08: takes a message of far more than 4 MiB, and refuses one above its limit', async (t) => {
  const { client } = await startServer(t, [[echo]]);
  const send = (length: number) =>
    client.raw(
      '/t.T/Echo',
      ReadRequest.encode({ ...request, resourceName: 'x'.repeat(length) }).finish(),
    );
  assert.ok((await send(20 * 2 ** 20)).length > 20 * 2 ** 20);
  await assert.rejects(send(33 * 2 ** 20), { code: Code.RESOURCE_EXHAUSTED });
});

test('GEN-15: a passed deadline aborts the signal and is DEADLINE_EXCEEDED', async (t) => {
  const { promise, resolve } = Promise.withResolvers<unknown>();
  const wait = unary('/t.T/Wait', ReadRequest, ReadResponse, async (_request, { signal }) => {
    await once(signal, 'abort');
    resolve(signal.reason);
    throw signal.reason as Error;
  });
  const { client } = await startServer(t, [[wait]]);
  await assert.rejects(client.raw('/t.T/Wait', new Uint8Array(), { deadlineMs: 20 }), {
    code: Code.DEADLINE_EXCEEDED,
  });
  const reason = (await promise) as StatusError;
  assert.ok(reason.code === Code.DEADLINE_EXCEEDED || reason.code === Code.CANCELLED);
});

test('GEN-15: a deadline of months is no deadline that has passed', async (t) => {
  const slow = unary('/t.T/Slow', ReadRequest, ReadResponse, async (_request, { signal }) => {
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
    signal.throwIfAborted();
    return bytesOf('');
  });
  const { client } = await startServer(t, [[slow]]);
  for (const days of [24, 25, 30, 45, 100, 10_000]) {
    await client.raw('/t.T/Slow', new Uint8Array(), { deadlineMs: days * 86_400_000 });
  }
});

test('GEN-16: a cancelled stream aborts the signal and lets go of what it reads', async (t) => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const endless = serverStream('/t.T/Endless', ReadRequest, ReadResponse, async function* () {
    try {
      for (;;) yield bytesOf('x'.repeat(2 ** 16));
    } finally {
      resolve();
    }
  });
  const { client } = await startServer(t, [[endless]]);
  const stopping = new AbortController();
  await assert.rejects(
    async () => {
      for await (const response of client.rawStream('/t.T/Endless', new Uint8Array(), {
        signal: stopping.signal,
      })) {
        assert.ok(response.length > 0);
        stopping.abort();
      }
    },
    { code: Code.CANCELLED },
  );
  await promise;
});

test('BS-18: a reader that does not read stops the writer', async (t) => {
  let sent = 0;
  const stalled = Promise.withResolvers<void>();
  const large = serverStream('/t.T/Large', ReadRequest, ReadResponse, async function* () {
    for (; sent < 1000; sent++) {
      if (sent === 3) setTimeout(() => stalled.resolve(), 300);
      yield bytesOf('x'.repeat(2 ** 20));
    }
  });
  const { client } = await startServer(t, [[large]]);
  const stopping = new AbortController();
  const stream = client.rawStream('/t.T/Large', new Uint8Array(), { signal: stopping.signal });
  await stream[Symbol.asyncIterator]().next();
  await stalled.promise;
  assert.ok(sent < 100, `${sent} MiB were sent to nobody`);
  stopping.abort();
});

test('BS-40: an early answer to a stream of requests arrives as OK', async (t) => {
  const first = clientStream('/t.T/First', ReadRequest, ReadResponse, async (requests) => {
    for await (const { resourceName } of requests) return bytesOf(resourceName);
    return bytesOf('none');
  });
  const { client } = await startServer(t, [[first, echo]]);
  const { call, response } = client.clientStream('/t.T/First', ReadRequest, ReadResponse);
  const large = { ...request, resourceName: 'y'.repeat(2 ** 20) };
  for (let sent = 0; sent < 50; sent++) call.write(large);
  assert.equal((await response).data.length, 2 ** 20);
  await client.raw('/t.T/Echo', new Uint8Array());
});

test('requests and responses of a bidirectional stream go both ways', async (t) => {
  const each = bidi('/t.T/Each', ReadRequest, ReadResponse, async function* (requests) {
    for await (const { resourceName } of requests) yield bytesOf(resourceName);
  });
  const { client } = await startServer(t, [[each]]);
  const call = client.bidi('/t.T/Each', ReadRequest, ReadResponse);
  const seen: string[] = [];
  call.write({ ...request, resourceName: '1' });
  for await (const { data } of call as AsyncIterable<ReadResponse>) {
    seen.push(Buffer.from(data).toString());
    if (seen.length === 3) call.end();
    else call.write({ ...request, resourceName: String(seen.length + 1) });
  }
  assert.deepEqual(seen, ['1', '2', '3']);
});

test('GEN-22: closing ends lasting calls with UNAVAILABLE and lets short ones finish', async (t) => {
  const released = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const short = unary('/t.T/Short', ReadRequest, ReadResponse, async () => {
    begun.resolve();
    await released.promise;
    return bytesOf('done');
  });
  const lasting = serverStream(
    '/t.T/Lasting',
    ReadRequest,
    ReadResponse,
    async function* (_request, { signal }) {
      yield bytesOf('begun');
      await once(signal, 'abort');
      signal.throwIfAborted();
    },
    { lasting: true },
  );
  const { client, listener } = await startServer(t, [[short, lasting]]);
  const stream = client.rawStream('/t.T/Lasting', new Uint8Array())[Symbol.asyncIterator]();
  await stream.next();
  const answer = client.raw('/t.T/Short', new Uint8Array());
  await begun.promise;
  const closed = listener.close(10_000);
  await assert.rejects(stream.next(), { code: Code.UNAVAILABLE });
  released.resolve();
  await answer;
  await closed;
  await assert.rejects(client.raw('/t.T/Short', new Uint8Array(), { deadlineMs: 1000 }));
});

test('closing does not wait longer than it is told', async (t) => {
  const begun = Promise.withResolvers<void>();
  const deaf = unary('/t.T/Deaf', ReadRequest, ReadResponse, () => {
    begun.resolve();
    return new Promise(() => {});
  });
  const { client, listener } = await startServer(t, [[deaf]]);
  const answer = client.raw('/t.T/Deaf', new Uint8Array());
  answer.catch(() => {});
  await begun.promise;
  await listener.close(10);
  await assert.rejects(answer);
});

test('MD-01, MD-03, GEN-21: each call has one line, with what the client says of itself', async (t) => {
  for (const header of [
    'build.bazel.remote.execution.v2.requestmetadata-bin',
    'google.devtools.remoteexecution.v1test.requestmetadata-bin',
    'requestmetadata-bin',
  ]) {
    const lines: Record<string, unknown>[] = [];
    const log = createLog({
      level: 'debug',
      format: 'json',
      write: (line) => lines.push(JSON.parse(line) as Record<string, unknown>),
      now: () => 0,
    });
    const { client } = await startServer(t, [[echo]], { log });
    const metadata = RequestMetadata.encode(
      RequestMetadata.fromPartial({
        toolDetails: { toolName: 'bazel' },
        toolInvocationId: 'inv',
        actionId: 'act',
      }),
    ).finish();
    await client.raw('/t.T/Echo', new Uint8Array(), {
      metadata: { [header]: Buffer.from(metadata) },
    });
    assert.equal(lines.length, 1);
    const { level, method, code, tool, invocation, actionId } = lines[0] ?? {};
    assert.deepEqual(
      { level, method, code, tool, invocation, actionId },
      {
        level: 'debug',
        method: '/t.T/Echo',
        code: 'OK',
        tool: 'bazel',
        invocation: 'inv',
        actionId: 'act',
      },
    );
  }
});

test('MD-02, MD-05, GEN-12: headers that nobody can read change nothing', async (t) => {
  const { client } = await startServer(t, [[echo]]);
  const name = 'build.bazel.remote.execution.v2.requestmetadata-bin';
  for (const value of ['', '\xff', 'garbage', 'x'.repeat(30_000)]) {
    await client.raw('/t.T/Echo', new Uint8Array(), { metadata: { [name]: Buffer.from(value) } });
  }
  const many = Object.fromEntries(Array.from({ length: 20 }, (_, n) => [`x-header-${n}`, 'y']));
  await client.raw('/t.T/Echo', new Uint8Array(), { metadata: many });
});

test('services see text headers by name', async (t) => {
  let seen: Call | undefined;
  const look = unary('/t.T/Look', ReadRequest, ReadResponse, async (_request, call) => {
    seen = call;
    return bytesOf('');
  });
  const { client } = await startServer(t, [[look]]);
  await client.raw('/t.T/Look', new Uint8Array(), { metadata: { 'x-y': 'z' } });
  assert.equal(seen?.header('x-y'), 'z');
  assert.equal(seen?.header('x-z'), undefined);
});

test('GEN-14: pings are answered, on an idle connection too, and never end it', async (t) => {
  const { listener } = await startServer(t, [[echo]]);
  const session = connect(`http://${listener.address}`);
  t.after(() => session.destroy());
  const goneAway: number[] = [];
  session.on('goaway', (code) => goneAway.push(code));
  await once(session, 'connect');
  for (let i = 0; i < 100; i++) {
    await new Promise<void>((resolve, reject) => {
      session.ping((error) => (error ? reject(error) : resolve()));
    });
  }
  assert.deepEqual([goneAway, session.closed], [[], false]);
  const stream = session.request({
    ':method': 'POST',
    ':path': '/t.T/Echo',
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  stream.end(Buffer.alloc(5));
  stream.resume();
  const [trailers] = (await once(stream, 'trailers')) as [Record<string, string>];
  assert.equal(trailers['grpc-status'], '0');
});

test('GEN-14: hundreds of calls wait on one connection at once', async (t) => {
  const released = Promise.withResolvers<void>();
  let waiting = 0;
  const all = Promise.withResolvers<void>();
  const wait = serverStream('/t.T/Wait', ReadRequest, ReadResponse, async function* () {
    if (++waiting === 300) all.resolve();
    await released.promise;
    yield bytesOf('');
  });
  const { client } = await startServer(t, [[wait]]);
  const calls = Array.from({ length: 300 }, async () => {
    for await (const response of client.rawStream('/t.T/Wait', new Uint8Array())) {
      assert.equal(response.length, 0);
    }
  });
  await all.promise;
  released.resolve();
  await Promise.all(calls);
});

test('two services with one method are refused', async (t) => {
  await assert.rejects(startServer(t, [[echo], [echo]]), /two services have the method/);
});

test('an address that cannot be taken is UNAVAILABLE', async (t) => {
  const { listener } = await startServer(t, [[echo]]);
  await assert.rejects(
    listen({
      address: listener.address,
      services: [],
      limits: defaultServerLimits,
      log: silentLog,
      newId: () => '',
      clock: systemClock,
    }),
    { code: Code.UNAVAILABLE },
  );
});
