import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { Code } from '../../../src/base/status.ts';
import {
  HealthCheckRequest,
  HealthCheckResponse,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from '../../../src/proto/grpc/health/v1/health.ts';
import { startTestServer } from '../../support/start-expbuild-server.ts';
import { inReverse } from '../../support/in-reverse.ts';
import { tempDir } from '../../support/temp-dir.ts';
import { TestClient } from '../../support/test-client.ts';

const path = '/grpc.health.v1.Health';
const execution = 'build.bazel.remote.execution.v2.Execution';
const { SERVING, NOT_SERVING, SERVICE_UNKNOWN } = ServingStatus;

async function start(context: TestContext, toml?: string) {
  const t = inReverse(context);
  const server = await startTestServer(t, { folder: tempDir(t), ...(toml && { toml }) });
  const client = new TestClient(t, server.address);
  return {
    server,
    check: async (service: string) => {
      const request = { service };
      const types = [HealthCheckRequest, HealthCheckResponse] as const;
      return (await client.unary(`${path}/Check`, ...types, request)).status;
    },
    watch: (service: string, signal?: AbortSignal) =>
      client.serverStream(
        `${path}/Watch`,
        HealthCheckRequest,
        HealthCheckResponse,
        { service },
        signal && { signal },
      ),
  };
}

const statusOf = async (watching: AsyncIterator<HealthCheckResponse>) => {
  const { value } = (await watching.next()) as { value: HealthCheckResponse | undefined };
  return value?.status;
};

test('GEN-21: a server and each of its services are SERVING, and no other', async (t) => {
  const { check } = await start(t);
  for (const service of [
    '',
    execution,
    'build.bazel.remote.execution.v2.Capabilities',
    'build.bazel.remote.execution.v2.ContentAddressableStorage',
    'build.bazel.remote.execution.v2.ActionCache',
    'build.bazel.remote.asset.v1.Fetch',
    'build.bazel.remote.asset.v1.Push',
    'google.bytestream.ByteStream',
    'google.longrunning.Operations',
    'expbuild.worker.v1.WorkerService',
  ]) {
    assert.equal(await check(service), SERVING, service);
  }
  await assert.rejects(check('no.such.Service'), { code: Code.NOT_FOUND });
});

test('GEN-21: a cache does not serve execution', async (t) => {
  const { check } = await start(t, '[execution]\nbackend = "none"');
  assert.equal(await check('google.bytestream.ByteStream'), SERVING);
  await assert.rejects(check(execution), { code: Code.NOT_FOUND });
});

test('GEN-21: a server that drains is NOT_SERVING, and still answers', async (t) => {
  const { server, check, watch } = await start(t);
  const watching = watch(execution);
  assert.equal(await statusOf(watching), SERVING);
  server.drain();
  assert.equal(await statusOf(watching), NOT_SERVING);
  assert.equal(await check(''), NOT_SERVING);
  assert.equal(await check(execution), NOT_SERVING);
  assert.equal(await statusOf(watch('')), NOT_SERVING);
  await assert.rejects(check('no.such.Service'), { code: Code.NOT_FOUND });
});

test('GEN-21, GEN-22: who watches hears NOT_SERVING before a server that stops ends the call', async (t) => {
  const { server, watch } = await start(t);
  const all = ['', execution, 'google.bytestream.ByteStream'].map((name) => watch(name));
  for (const watching of all) assert.equal(await statusOf(watching), SERVING);
  const stopped = server.stop();
  for (const watching of all) {
    assert.equal(await statusOf(watching), NOT_SERVING);
    await assert.rejects(watching.next(), { code: Code.UNAVAILABLE });
  }
  await stopped;
});

test('GEN-21: watching what is not served is no error, and may end at any time', async (t) => {
  const { watch, check } = await start(t);
  const leaving = new AbortController();
  const watching = watch('no.such.Service', leaving.signal);
  assert.equal(await statusOf(watching), SERVICE_UNKNOWN);
  leaving.abort();
  await assert.rejects(watching.next(), { code: Code.CANCELLED });
  assert.equal(await check(''), SERVING);
});
