import assert from 'node:assert/strict';
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Code, StatusError } from '../../../src/base/status.ts';
import { version } from '../../../src/base/version.ts';
import {
  BatchReadBlobsResponse,
  RequestMetadata,
} from '../../../src/proto/build/bazel/remote/execution/v2/remote_execution.ts';
import { BytesValue, Int64Value } from '../../../src/proto/google/protobuf/wrappers.ts';
import { RetryInfo } from '../../../src/proto/google/rpc/error_details.ts';
import type { Rpc } from '../../../src/rpc/stubs/channel.ts';
import { defaultRetryOptions, withRetries } from '../../../src/rpc/stubs/retries.ts';
import { never } from '../../support/never.ts';
import {
  bidi,
  clientStream,
  connectTo,
  fakeServer,
  fakeServerPort,
  serverStream,
  unary,
} from './fake-server.ts';

const path = '/test.Service/Method';
const rpc: Rpc<Int64Value, Int64Value> = { path, request: Int64Value, response: Int64Value };
const options = { signal: never };
const number = (value: number) => Int64Value.fromPartial({ value });

async function* numbers(count: number): AsyncIterable<Int64Value> {
  for (let n = 1; n <= count; n++) yield number(n);
}

async function* thenSilence(value: number): AsyncIterable<Int64Value> {
  yield number(value);
  await new Promise<never>(() => {});
}

async function* thenFailure(value: number, error: Error): AsyncIterable<Int64Value> {
  yield number(value);
  throw error;
}

async function collected(messages: AsyncIterable<Int64Value>): Promise<number[]> {
  const values: number[] = [];
  for await (const { value } of messages) values.push(value);
  return values;
}

test('a unary call gives the answer', async (t) => {
  const channel = await fakeServer(t, [
    unary(path, Int64Value, Int64Value, ({ value }) => number(value * 2)),
  ]);
  assert.equal((await channel.unary(rpc, number(21), options)).value, 42);
});

test('CLI-15: every call says which program it comes from', async (t) => {
  const seen: RequestMetadata[] = [];
  const headers: unknown[] = [];
  const channel = await fakeServer(t, [
    unary(path, Int64Value, Int64Value, (request, metadata) => {
      const [bytes] = metadata.get('build.bazel.remote.execution.v2.requestmetadata-bin');
      seen.push(RequestMetadata.decode(bytes as Buffer));
      headers.push(metadata.get('x-route'));
      return request;
    }),
  ]);
  await channel.unary(rpc, number(1), options);
  const requestMetadata = RequestMetadata.fromPartial({ actionId: 'of another' });
  await channel.unary(rpc, number(1), { ...options, requestMetadata, headers: { 'x-route': 'a' } });
  assert.deepEqual(seen[0]?.toolDetails, { toolName: 'expbuild', toolVersion: version });
  assert.equal(seen[0]?.toolInvocationId, 'test-invocation');
  assert.equal(seen[1]?.actionId, 'of another');
  assert.deepEqual(headers, [[], ['a']]);
});

test('GEN-07: an error has the code, the text and the details of the trailer', async (t) => {
  const details = [{ typeUrl: 'type.googleapis.com/x.Y', value: Buffer.from('detail') }];
  const channel = await fakeServer(t, [
    unary(path, Int64Value, Int64Value, () => {
      throw new StatusError(Code.FAILED_PRECONDITION, 'not so', { details });
    }),
  ]);
  await assert.rejects(channel.unary(rpc, number(1), options), (error: StatusError) => {
    assert.ok(error instanceof StatusError);
    assert.equal(error.code, Code.FAILED_PRECONDITION);
    assert.equal(error.message, 'not so');
    assert.equal(error.details[0]?.typeUrl, 'type.googleapis.com/x.Y');
    assert.equal(String(error.details[0]?.value), 'detail');
    return true;
  });
});

test('GEN-06: a call is made again when the server says, whatever the error', async (t) => {
  const value = RetryInfo.encode(
    RetryInfo.fromPartial({ retryDelay: { seconds: 2, nanos: 5e8 } }),
  ).finish();
  const details = [{ typeUrl: 'type.googleapis.com/google.rpc.RetryInfo', value }];
  let asked = 0;
  const channel = await fakeServer(t, [
    unary(path, Int64Value, Int64Value, (request) => {
      asked += 1;
      if (asked === 1) throw new StatusError(Code.RESOURCE_EXHAUSTED, 'come later', { details });
      return request;
    }),
  ]);
  const slept: number[] = [];
  const clock = { now: () => 0, sleep: async (ms: number) => void slept.push(ms) };
  const policy = { ...defaultRetryOptions, clock, random: () => 0 };
  const attempt = () => channel.unary(rpc, number(7), options);
  assert.equal((await withRetries(policy, attempt, never)).value, 7);
  assert.deepEqual(slept, [2500]);
});

test('a method that the server does not have is UNIMPLEMENTED', async (t) => {
  const channel = await fakeServer(t, []);
  await assert.rejects(channel.unary(rpc, number(1), options), { code: Code.UNIMPLEMENTED });
  await assert.rejects(collected(channel.bidi(rpc, numbers(3), options)), {
    code: Code.UNIMPLEMENTED,
  });
});

test('a server that is not there is UNAVAILABLE', async (t) => {
  const closed = net.createServer().listen(0, '127.0.0.1');
  await once(closed, 'listening');
  const { port } = closed.address() as AddressInfo;
  closed.close();
  await once(closed, 'close');
  const channel = connectTo(t, `127.0.0.1:${port}`);
  await assert.rejects(channel.unary(rpc, number(1), options), { code: Code.UNAVAILABLE });
});

test('a line that is dead is noticed', { timeout: 20_000 }, async (t) => {
  const served = await fakeServerPort(t, [
    serverStream(path, Int64Value, Int64Value, () => thenSilence(1)),
  ]);
  const sockets = new Set<net.Socket>();
  let isDead = false;
  const line = net.createServer((near) => {
    const far = net.connect(served, '127.0.0.1');
    near.on('data', (bytes) => isDead || far.write(bytes));
    far.on('data', (bytes) => isDead || near.write(bytes));
    for (const socket of [near, far]) sockets.add(socket.on('error', () => {}));
  });
  line.listen(0, '127.0.0.1');
  await once(line, 'listening');
  t.after(() => {
    line.close();
    for (const socket of sockets) socket.destroy();
  });
  const { port } = line.address() as AddressInfo;
  const channel = connectTo(t, `127.0.0.1:${port}`, { everyMs: 20, timeoutMs: 20 });
  const answers = channel.serverStream(rpc, number(1), options)[Symbol.asyncIterator]();
  await answers.next();
  isDead = true;
  await assert.rejects(answers.next(), { code: Code.UNAVAILABLE });
});

test('an answer that cannot be decoded is INTERNAL and names the method', async (t) => {
  const channel = await fakeServer(t, [
    unary(path, Int64Value, BytesValue, () => BytesValue.fromPartial({ value: Buffer.alloc(9) })),
  ]);
  const other: Rpc<Int64Value, unknown> = {
    ...rpc,
    response: {
      decode: () => {
        throw new Error('garbage');
      },
    },
  };
  await assert.rejects(channel.unary(other, number(1), options), {
    code: Code.INTERNAL,
    message: new RegExp(`${path}.*garbage`),
  });
});

test('an answer that would take far more memory than its bytes is refused', async (t) => {
  // Entries of two bytes each, which become objects of some hundred.
  const bomb = { encode: () => ({ finish: () => Buffer.alloc(2_000_000, Buffer.of(0x0a, 0)) }) };
  const channel = await fakeServer(t, [
    unary(path, Int64Value, { ...Int64Value, ...bomb }, () => number(1)),
  ]);
  const batch = { ...rpc, response: BatchReadBlobsResponse };
  await assert.rejects(channel.unary(batch, number(1), options), {
    code: Code.INTERNAL,
    message: /the answer to \/test\.Service\/Method cannot be decoded: .* bytes of memory/,
  });
});

test('a server stream gives all messages, then its status', async (t) => {
  const channel = await fakeServer(t, [
    serverStream(path, Int64Value, Int64Value, async function* ({ value }) {
      yield* numbers(value);
      if (value === 3) throw new StatusError(Code.DATA_LOSS, 'after three');
    }),
  ]);
  assert.deepEqual(await collected(channel.serverStream(rpc, number(2), options)), [1, 2]);
  await assert.rejects(collected(channel.serverStream(rpc, number(3), options)), {
    code: Code.DATA_LOSS,
  });
});

test('a server stream is read no faster than it is used', async (t) => {
  const bytes: Rpc<Int64Value, BytesValue> = { path, request: Int64Value, response: BytesValue };
  let sent = 0;
  const channel = await fakeServer(t, [
    serverStream(path, Int64Value, BytesValue, async function* () {
      for (; sent < 200; sent++) yield BytesValue.fromPartial({ value: Buffer.alloc(2 ** 20) });
    }),
  ]);
  const stream = channel.serverStream(bytes, number(0), options);
  let received = 0;
  for await (const { value } of stream) {
    received += value.length;
    if (received === 2 ** 20) await quiet(() => sent);
    assert.ok(sent * 2 ** 20 - received < 64 * 2 ** 20, `${sent} sent, ${received} bytes received`);
  }
  assert.equal(received, 200 * 2 ** 20);
});

test('a reader that leaves early cancels the call', async (t) => {
  const { promise: cancelled, resolve } = Promise.withResolvers<void>();
  const channel = await fakeServer(t, [
    serverStream(path, Int64Value, Int64Value, async function* (_request, _metadata, signal) {
      signal.addEventListener('abort', () => resolve());
      yield number(1);
      await new Promise<never>(() => {});
    }),
  ]);
  for await (const { value } of channel.serverStream(rpc, number(0), options)) {
    assert.equal(value, 1);
    break;
  }
  await cancelled;
});

test('an abort ends a call with its reason', async (t) => {
  const { promise: cancelled, resolve } = Promise.withResolvers<void>();
  const channel = await fakeServer(t, [
    serverStream(path, Int64Value, Int64Value, async function* (_request, _metadata, signal) {
      signal.addEventListener('abort', () => resolve());
      yield number(1);
      await new Promise<never>(() => {});
    }),
  ]);
  const aborting = new AbortController();
  const reason = new StatusError(Code.ABORTED, 'enough');
  await assert.rejects(async () => {
    const stream = channel.serverStream(rpc, number(0), { signal: aborting.signal });
    for await (const { value } of stream) {
      assert.equal(value, 1);
      aborting.abort(reason);
    }
  }, reason);
  await cancelled;
  await assert.rejects(channel.unary(rpc, number(1), { signal: aborting.signal }), reason);
});

test('a deadline ends a call', async (t) => {
  const channel = await fakeServer(t, [
    unary(path, Int64Value, Int64Value, () => new Promise<never>(() => {})),
  ]);
  await assert.rejects(channel.unary(rpc, number(1), { ...options, deadlineMs: 20 }), {
    code: Code.DEADLINE_EXCEEDED,
  });
});

test('a client stream sends all requests', async (t) => {
  const channel = await fakeServer(t, [
    clientStream(path, Int64Value, Int64Value, async (requests) => {
      const values = await collected(requests);
      return number(values.reduce((sum, value) => sum + value, 0));
    }),
  ]);
  assert.equal((await channel.clientStream(rpc, numbers(100), options)).value, 5050);
  assert.equal((await channel.clientStream(rpc, numbers(0), options)).value, 0);
});

test('a client stream ends with an early answer, also when its source hangs', async (t) => {
  const channel = await fakeServer(t, [
    clientStream(path, Int64Value, Int64Value, async (requests) => {
      for await (const request of requests) return request;
      return number(0);
    }),
  ]);
  assert.equal((await channel.clientStream(rpc, thenSilence(7), options)).value, 7);
  let asked = 0;
  async function* endless(): AsyncIterable<Int64Value> {
    for (;;) {
      await setImmediate();
      yield number(++asked);
    }
  }
  assert.equal((await channel.clientStream(rpc, endless(), options)).value, 1);
});

test('a client stream whose source fails ends with its error', async (t) => {
  const channel = await fakeServer(t, [
    clientStream(path, Int64Value, Int64Value, async (requests) => {
      await collected(requests);
      return number(0);
    }),
  ]);
  const gone = new StatusError(Code.NOT_FOUND, 'the source is gone');
  await assert.rejects(channel.clientStream(rpc, thenFailure(1, gone), options), {
    code: Code.NOT_FOUND,
    message: 'the source is gone',
  });
});

test('a client stream takes from its source no faster than the server reads', async (t) => {
  const bytes: Rpc<BytesValue, Int64Value> = { path, request: BytesValue, response: Int64Value };
  let made = 0;
  let taken = 0;
  const channel = await fakeServer(t, [
    clientStream(path, BytesValue, Int64Value, async (requests) => {
      for await (const { value } of requests) {
        taken += value.length / 2 ** 20;
        if (taken === 1) await quiet(() => made);
        assert.ok(made - taken < 64, `${made} made, ${taken} taken`);
      }
      return number(taken);
    }),
  ]);
  async function* source(): AsyncIterable<BytesValue> {
    for (; made < 200; made++) yield BytesValue.fromPartial({ value: Buffer.alloc(2 ** 20) });
  }
  assert.equal((await channel.clientStream(bytes, source(), options)).value, 200);
});

test('both sides of a bidirectional call speak as they like', async (t) => {
  const channel = await fakeServer(t, [
    bidi(path, Int64Value, Int64Value, async function* (requests) {
      for await (const { value } of requests) {
        if (value < 0) return;
        yield number(value + 1);
      }
    }),
  ]);
  const sent = Promise.withResolvers<number>();
  async function* source(): AsyncIterable<Int64Value> {
    yield number(1);
    yield number(await sent.promise);
  }
  const values: number[] = [];
  for await (const { value } of channel.bidi(rpc, source(), options)) {
    values.push(value);
    sent.resolve(value + 10);
  }
  assert.deepEqual(values, [2, 13]);
  assert.deepEqual(await collected(channel.bidi(rpc, thenSilence(-1), options)), []);
});

/** Resolves once `count` has stood still for a while of the event loop: nothing is under way then. */
async function quiet(count: () => number): Promise<void> {
  for (let turns = 0, last = count(); turns < 200; turns++) {
    await setImmediate();
    if (count() !== last) turns = 0;
    last = count();
  }
}
