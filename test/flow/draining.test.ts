import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import {
  HealthCheckRequest,
  HealthCheckResponse,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from '../../src/proto/grpc/health/v1/health.ts';
import { appears } from '../support/appears.ts';
import { FakeTerminal } from '../support/fake-terminal.ts';
import { inReverse } from '../support/in-reverse.ts';
import { runCli } from '../support/run-cli.ts';
import { tempDir } from '../support/temp-dir.ts';
import { TestClient } from '../support/test-client.ts';

test('GEN-21: from the first Ctrl-C on a server is NOT_SERVING, while its actions go on', async (context) => {
  const t = inReverse(context);
  const folder = tempDir(t);
  const seen = path.join(folder, 'seen');
  mkdirSync(seen);
  // Where the test is root, commands run as another user.
  chmodSync(seen, 0o777);
  const leaving = new AbortController();
  t.after(() => leaving.abort());
  const terminal = new FakeTerminal();
  const argv = ['up', '--data', path.join(folder, 'data'), '--slots', '1'];
  const options = { folder, leaving: leaving.signal, terminal };
  const serving = runCli([...argv, '--address', '127.0.0.1:0'], options);
  t.after(() => writeFileSync(path.join(seen, 'go'), ''));
  const pattern = /127\.0\.0\.1:\d+/;
  await terminal.shown(pattern);
  const [address = ''] = pattern.exec(terminal.stdout) ?? [];
  const client = new TestClient(t, address);
  const request = HealthCheckRequest.fromPartial({});
  const check = async () => {
    const checkPath = '/grpc.health.v1.Health/Check';
    return client.unary(checkPath, HealthCheckRequest, HealthCheckResponse, request);
  };

  const started = appears(seen, 'started');
  const script = `: > ${seen}/started; until [ -e ${seen}/go ]; do sleep 0.02; done; echo ran`;
  const running = runCli(['run', '--remote', address, '--', 'sh', '-c', script], { folder });
  await started;
  assert.equal((await check()).status, ServingStatus.SERVING);
  leaving.abort();
  assert.equal((await check()).status, ServingStatus.NOT_SERVING);
  writeFileSync(path.join(seen, 'go'), '');
  assert.equal((await running).stdout, 'ran\n');
  assert.equal((await serving).exitCode, 0);
});
