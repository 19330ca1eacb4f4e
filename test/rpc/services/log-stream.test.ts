import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { newId } from '../../../src/base/id.ts';
import { createLog } from '../../../src/base/log.ts';
import { Code } from '../../../src/base/status.ts';
import {
  CreateLogStreamRequest,
  LogStream,
} from '../../../src/proto/build/bazel/remote/logstream/v1/remote_logstream.ts';
import {
  QueryWriteStatusRequest,
  QueryWriteStatusResponse,
  ReadRequest,
  ReadResponse,
  WriteRequest,
  WriteResponse,
} from '../../../src/proto/google/bytestream/bytestream.ts';
import { Instances } from '../../../src/rpc/instances.ts';
import { byteStream } from '../../../src/rpc/services/byte-stream.ts';
import { logStream } from '../../../src/rpc/services/log-stream.ts';
import { inReverse } from '../../support/in-reverse.ts';
import { memoryLogStreams } from '../../support/memory-log-streams.ts';
import { startServer } from '../../support/start-server.ts';
import { testInstance } from '../../support/test-instance.ts';

const byteStreamPath = '/google.bytestream.ByteStream';

/** A server with instances '' and a/b, and its calls as another program makes them. */
async function serve(context: TestContext, hasLogs = true) {
  const t = inReverse(context);
  const logs = await memoryLogStreams(t);
  const instances = new Instances([testInstance(), testInstance({ name: 'a/b' })]);
  const lines: string[] = [];
  const write = (line: string) => void lines.push(line);
  const log = createLog({ level: 'debug', format: 'json', write, now: () => 0 });
  const services = hasLogs
    ? [byteStream(instances, logs), logStream(instances, logs)]
    : [byteStream(instances)];
  const { listener, client } = await startServer(t, services, { log });
  const create = (parent: string) =>
    client.unary(
      '/build.bazel.remote.logstream.v1.LogStreamService/CreateLogStream',
      CreateLogStreamRequest,
      LogStream,
      { parent },
    );
  const put = async (resourceName: string, text: string, changes: Partial<WriteRequest> = {}) => {
    const stream = client.clientStream(`${byteStreamPath}/Write`, WriteRequest, WriteResponse);
    const data = Buffer.from(text);
    stream.call.end(
      WriteRequest.fromPartial({ resourceName, data, finishWrite: true, ...changes }),
    );
    return stream.response;
  };
  const reading = (resourceName: string, range: Partial<ReadRequest> = {}) =>
    client.serverStream(
      `${byteStreamPath}/Read`,
      ReadRequest,
      ReadResponse,
      ReadRequest.fromPartial({ resourceName, ...range }),
    );
  const read = async (resourceName: string, range: Partial<ReadRequest> = {}) => {
    const responses = await Array.fromAsync(reading(resourceName, range));
    return Buffer.concat(responses.map(({ data }) => data)).toString();
  };
  const status = (resourceName: string) =>
    client.unary(
      `${byteStreamPath}/QueryWriteStatus`,
      QueryWriteStatusRequest,
      QueryWriteStatusResponse,
      { resourceName },
    );
  return { listener, create, put, read, reading, status, lines };
}

test('LOG-01: streams are made for instances, and for no other parent', async (t) => {
  const { create } = await serve(t);
  assert.match((await create('')).name, /^logstreams\/[0-9a-f-]{36}$/);
  const { name, writeResourceName } = await create('a/b');
  assert.match(name, /^a\/b\/logstreams\/[0-9a-f-]{36}$/);
  assert.match(writeResourceName, /^a\/b\/logstreams\/[0-9a-f-]{36}\/[0-9a-f-]{36}$/);
  for (const parent of ['other', 'a', 'a//b', 'a/b/operations/x']) {
    await assert.rejects(create(parent), { code: Code.INVALID_ARGUMENT });
  }
});

test('LOG-11: a stream is read by its name, by its id, and by its id below the instance', async (t) => {
  const { create, put, read } = await serve(t);
  const { name, writeResourceName } = await create('a/b');
  await put(writeResourceName, 'hello');
  const id = name.split('/').at(-1) ?? '';
  for (const form of [name, id, `a/b/logstreams/${id}`]) assert.equal(await read(form), 'hello');
  await assert.rejects(read(`logstreams/${id}`), { code: Code.NOT_FOUND });
});

test('LOG-07: offsets and limits of a read count as those of blobs do', async (t) => {
  const { create, put, read } = await serve(t);
  const { name, writeResourceName } = await create('');
  await put(writeResourceName, 'hello');
  assert.equal(await read(name, { readOffset: 1, readLimit: 3 }), 'ell');
  assert.equal(await read(name, { readOffset: 5 }), '');
  await assert.rejects(read(name, { readOffset: 6 }), { code: Code.OUT_OF_RANGE });
  await assert.rejects(read(name, { readOffset: -1 }), { code: Code.OUT_OF_RANGE });
  await assert.rejects(read(name, { readLimit: -1 }), { code: Code.INVALID_ARGUMENT });
});

test('LOG-09: a token is told to nobody but who made the stream', async (t) => {
  const { create, put, read, status, lines } = await serve(t);
  const { name, writeResourceName } = await create('a/b');
  const token = writeResourceName.split('/').at(-1) ?? '';
  const messages: string[] = [];
  const refused = async (call: Promise<unknown>) => {
    await assert.rejects(call, ({ details }: { details: string }) => messages.push(details) > 0);
  };
  await put(writeResourceName, 'one', { finishWrite: false });
  await refused(put(writeResourceName, 'x', { writeOffset: 7 }));
  await status(writeResourceName);
  await put(writeResourceName, 'two', { writeOffset: 3 });
  await refused(put(writeResourceName, 'three', { writeOffset: 6 }));
  await refused(read(writeResourceName));
  await refused(read(`${writeResourceName}/more`));
  await refused(status(`${writeResourceName}/more`));
  await refused(put(`${writeResourceName}/more`, 'x'));
  await refused(put(`a/logstreams/${name.split('/').at(-1)}/${token}`, 'x'));
  assert.equal(await read(name), 'onetwo');
  assert.equal(messages.length, 7);
  assert.ok(lines.length >= 12, lines.join(''));
  for (const text of [...messages, ...lines]) assert.ok(!text.includes(token), text);
});

test('LOG-13, LOG-14: the status of a stream that is not there is NOT_FOUND', async (t) => {
  const { create, put, status } = await serve(t);
  const { writeResourceName } = await create('');
  await put(writeResourceName, 'one', { finishWrite: false });
  await put(writeResourceName, 'two', { finishWrite: false, writeOffset: 3 });
  const { committedSize, complete } = await status(writeResourceName);
  assert.deepEqual([committedSize, complete], [6, false]);
  await assert.rejects(status(`logstreams/${newId()}/${newId()}`), { code: Code.NOT_FOUND });
});

test('GEN-22: a reader that waits is told when the server stops, and does not hold it up', async (t) => {
  const { create, put, reading, listener } = await serve(t);
  const { name, writeResourceName } = await create('');
  await put(writeResourceName, 'so far', { finishWrite: false });
  const reader = reading(name);
  assert.equal(Buffer.from((await reader.next()).value?.data ?? []).toString(), 'so far');
  const rest = reader.next();
  const closing = listener.close(60_000);
  await assert.rejects(rest, { code: Code.UNAVAILABLE });
  await closing;
});

test('a server without log streams takes their names for wrong ones', async (t) => {
  const { read, create } = await serve(t, false);
  await assert.rejects(read(`logstreams/${newId()}`), { code: Code.INVALID_ARGUMENT });
  await assert.rejects(create(''), { code: Code.UNIMPLEMENTED });
});
