import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { describe, it, test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { create, createFileRegistry, fromBinary } from '@bufbuild/protobuf';
import {
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from '@bufbuild/protobuf/wkt';
import { Code } from '../../../src/base/status.ts';
import {
  ServerReflectionRequest,
  ServerReflectionResponse,
} from '../../../src/proto/grpc/reflection/v1/reflection.ts';
import { serviceNamesOf } from '../../../src/rpc/method.ts';
import { inReverse } from '../../support/in-reverse.ts';
import { startTestServer } from '../../support/start-expbuild-server.ts';
import { tempDir } from '../../support/temp-dir.ts';
import { TestClient } from '../../support/test-client.ts';

type Question = NonNullable<ServerReflectionRequest['messageRequest']>;
type Answer = NonNullable<ServerReflectionResponse['messageResponse']>;

const api = 'build.bazel.remote.execution.v2';
const always = [
  `${api}.ActionCache`,
  `${api}.Capabilities`,
  `${api}.ContentAddressableStorage`,
  'google.bytestream.ByteStream',
  'grpc.health.v1.Health',
  'grpc.reflection.v1.ServerReflection',
  'grpc.reflection.v1alpha.ServerReflection',
];
const executing = [
  `${api}.Execution`,
  'expbuild.worker.v1.WorkerService',
  'google.longrunning.Operations',
];
const listServices = { $case: 'listServices', value: '' } as const;

/** A server, and a stream of questions to it. */
async function start(context: TestContext, { version = 'v1', toml = '' } = {}) {
  const t = inReverse(context);
  const server = await startTestServer(t, { folder: tempDir(t), toml });
  const client = new TestClient(t, server.address);
  const call = client.bidi(
    `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`,
    ServerReflectionRequest,
    ServerReflectionResponse,
  );
  t.after(() => call.cancel());
  call.on('error', () => {});
  const responses = call[Symbol.asyncIterator]() as AsyncIterator<ServerReflectionResponse>;
  const ask = async (messageRequest: Question | undefined, host = '') => {
    call.write({ host, messageRequest });
    const { value } = (await responses.next()) as { value: ServerReflectionResponse };
    return value;
  };
  const answer = async (question: Question) => {
    const { messageResponse } = await ask(question);
    assert.ok(messageResponse);
    return messageResponse;
  };
  return { server, call, ask, answer };
}

function namesIn(answer: Answer): string[] {
  assert.equal(answer.$case, 'listServicesResponse');
  return answer.value.service.map(({ name }) => name);
}

function filesIn(answer: Answer) {
  assert.equal(answer.$case, 'fileDescriptorResponse', JSON.stringify(answer));
  return answer.value.fileDescriptorProto.map((bytes) =>
    fromBinary(FileDescriptorProtoSchema, bytes),
  );
}

/** The files, each after those that it imports, which must be there. */
function importsFirst(files: ReadonlyMap<string, FileDescriptorProto>): FileDescriptorProto[] {
  const ordered = new Set<FileDescriptorProto>();
  const add = (file: FileDescriptorProto | undefined) => {
    assert.ok(file, 'an imported file is missing');
    for (const name of file.dependency) add(files.get(name));
    ordered.add(file);
  };
  for (const file of files.values()) add(file);
  return [...ordered];
}

function codeIn(answer: Answer | undefined): number {
  assert.equal(answer?.$case, 'errorResponse');
  return answer.value.errorCode;
}

for (const version of ['v1', 'v1alpha']) {
  describe(`server reflection ${version}`, () => {
    it('lists every service, and gives the files that describe each of its methods', async (t) => {
      const { answer, server } = await start(t, { version });
      const services = namesIn(await answer(listServices));
      for (const name of [...always, ...executing]) assert.ok(services.includes(name), name);
      assert.deepEqual(services, serviceNamesOf(server.services).toSorted());

      const files = new Map<string, FileDescriptorProto>();
      for (const name of services) {
        const found = filesIn(await answer({ $case: 'fileContainingSymbol', value: name }));
        for (const file of found) files.set(file.name, file);
      }
      const registry = createFileRegistry(
        create(FileDescriptorSetSchema, { file: importsFirst(files) }),
      );
      for (const name of services) {
        assert.ok((registry.getService(name)?.methods.length ?? 0) > 0, name);
      }
      const execute = registry.getService(`${api}.Execution`)?.method['execute'];
      assert.equal(execute?.methodKind, 'server_streaming');
      const fields = execute.input.fields.map(({ name, number }) => [name, number]);
      assert.deepEqual(fields.slice(0, 2), [
        ['instance_name', 1],
        ['skip_cache_lookup', 3],
      ]);
      assert.ok(registry.getMessage('google.rpc.Status'));
    });
  });
}

it('sends a file that was asked for each time, and what it imports only once', async (t) => {
  const { answer } = await start(t);
  const value = 'google/longrunning/operations.proto';
  const first = filesIn(await answer({ $case: 'fileByFilename', value })).map(({ name }) => name);
  assert.deepEqual(first.toSorted(), [
    value,
    'google/protobuf/any.proto',
    'google/protobuf/duration.proto',
    'google/protobuf/empty.proto',
    'google/rpc/status.proto',
  ]);
  assert.equal(first[0], value);
  const second = filesIn(await answer({ $case: 'fileByFilename', value }));
  assert.deepEqual(
    Array.from(second, ({ name }) => name),
    [value],
  );
});

it('finds files by methods, nested messages and what travels as Any', async (t) => {
  const { answer } = await start(t);
  for (const [value, file] of [
    [`${api}.Execution.Execute`, 'build/bazel/remote/execution/v2/remote_execution.proto'],
    [
      `${api}.Command.EnvironmentVariable`,
      'build/bazel/remote/execution/v2/remote_execution.proto',
    ],
    ['google.rpc.PreconditionFailure.Violation', 'google/rpc/error_details.proto'],
    ['buildbarn.resourceusage.POSIXResourceUsage', 'buildbarn/resourceusage/resourceusage.proto'],
  ] as const) {
    const [found] = filesIn(await answer({ $case: 'fileContainingSymbol', value }));
    assert.equal(found?.name, file);
  }
});

it('answers what it does not know with an error, and goes on', async (t) => {
  const { ask, answer, call } = await start(t);
  for (const question of [
    { $case: 'fileByFilename', value: 'no/such.proto' },
    { $case: 'fileByFilename', value: '' },
    { $case: 'fileContainingSymbol', value: 'no.such.Message' },
    { $case: 'fileContainingSymbol', value: '__proto__' },
    { $case: 'allExtensionNumbersOfType', value: 'no.such.Message' },
    {
      $case: 'fileContainingExtension',
      value: { containingType: 'google.protobuf.MethodOptions', extensionNumber: 1049 },
    },
  ] satisfies Question[]) {
    const { originalRequest, validHost, messageResponse } = await ask(question, 'a.host');
    assert.equal(codeIn(messageResponse), Code.NOT_FOUND);
    assert.equal(validHost, 'a.host');
    assert.partialDeepStrictEqual(originalRequest?.messageRequest, question);
  }
  assert.equal(codeIn((await ask(undefined)).messageResponse), Code.INVALID_ARGUMENT);
  assert.ok(namesIn(await answer(listServices)).length > 0);
  call.end();
  await once(call, 'status');
});

it('says that no message has extensions', async (t) => {
  const { answer } = await start(t);
  const value = `${api}.Action`;
  assert.partialDeepStrictEqual(await answer({ $case: 'allExtensionNumbersOfType', value }), {
    $case: 'allExtensionNumbersResponse',
    value: { baseTypeName: value, extensionNumber: [] },
  });
});

it('lists nothing that is not served', async (t) => {
  const { answer } = await start(t, { toml: '[execution]\nbackend = "none"' });
  const services = namesIn(await answer(listServices));
  for (const name of executing) assert.ok(!services.includes(name), name);
});

const buf = path.resolve('node_modules/.bin/buf');
const skip = existsSync(buf)
  ? false
  : 'buf is not installed: it comes with the npm package @bufbuild/buf';
const curlFlags = ['curl', '--http2-prior-knowledge', '--protocol', 'grpc'];
const curl = async (...args: string[]) =>
  (await promisify(execFile)(buf, [...curlFlags, ...args])).stdout;

test('buf curl lists the services of a server and calls one', { skip }, async (t) => {
  const { server } = await start(t);
  for (const protocol of ['grpc-v1', 'grpc-v1alpha']) {
    const flags = ['--list-services', '--reflect-protocol', protocol];
    const listed = await curl(...flags, `http://${server.address}`);
    assert.ok(listed.split('\n').includes(`${api}.Execution`), listed);
  }
  const method = `http://${server.address}/${api}.Capabilities/GetCapabilities`;
  const printed = await curl('--data', '{"instanceName": "main"}', method);
  const { cacheCapabilities } = JSON.parse(printed) as {
    cacheCapabilities: { digestFunctions: string[] };
  };
  assert.deepEqual(cacheCapabilities.digestFunctions, ['SHA256', 'BLAKE3']);
});
