import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { bazelSkip, bazelWorkspace } from '../support/bazel.ts';
import { executableSkip, type RunningRole, startRole } from '../support/executable.ts';
import { tempDir } from '../support/temp-dir.ts';

/** A port that was free a moment ago: a server that is restarted must come back where it was. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  assert.ok(address !== null && typeof address === 'object');
  return address.port;
}

/** A server and workers as processes of their own, on data folders of their own. */
async function startFarm(t: TestContext, workers: readonly string[]) {
  const root = tempDir(t);
  const port = await freePort();
  const serverConfig = path.join(root, 'server.toml');
  writeFileSync(
    serverConfig,
    `address = "127.0.0.1:${port}"
[cas_storage]
root_path = "${root}/cas"
[action_cache]
root_path = "${root}/action-cache"
[scheduler]
root_path = "${root}/scheduler"
[remote_asset]
root_path = "${root}/remote_asset"
[logs]
root_path = "${root}/logs"
`,
  );
  const startServer = () => startRole(t, ['server', '--config', serverConfig], /serving/);
  const server = await startServer();
  const running = new Map<string, RunningRole>();
  for (const id of workers) {
    const config = path.join(root, `${id}.toml`);
    writeFileSync(
      config,
      `worker_id = "${id}"
server_url = "http://127.0.0.1:${port}"
root_path = "${root}/${id}"
slots = 2
`,
    );
    running.set(id, await startRole(t, ['worker', '--verbose', '--config', config], /connected/));
  }
  return { port, server, startServer, workers: running };
}

const build = (port: number) => [
  '//slow',
  `--remote_executor=grpc://127.0.0.1:${port}`,
  '--spawn_strategy=remote',
  '--remote_local_fallback=false',
];

const skip = executableSkip() || bazelSkip('2.1.0');
describe('a build goes on', { skip, timeout: 180_000 }, () => {
  test('WRK-15, EXE-64: when a worker is killed in the middle of an action', async (t) => {
    const farm = await startFarm(t, ['first', 'second']);
    const workspace = bazelWorkspace(t, { bazel: '2.1.0' });
    const building = workspace.run('build', ...build(farm.port));
    const first = farm.workers.get('first');
    assert.ok(first);
    await first.printed(/action running/);
    await first.kill();
    const result = await building;
    assert.equal(result.exitCode, 0, result.stderr);
    assert.deepEqual(result.processes, { remote: 6 });
  });

  test('EXE-20: when the server is killed and comes back', async (t) => {
    const farm = await startFarm(t, ['first', 'second']);
    const workspace = bazelWorkspace(t, { bazel: '2.1.0' });
    const building = workspace.run('build', ...build(farm.port));
    const first = farm.workers.get('first');
    assert.ok(first);
    await first.printed(/action running/);
    await farm.server.kill();
    await farm.startServer();
    const result = await building;
    assert.equal(result.exitCode, 0, result.stderr);
    assert.deepEqual(result.processes, { remote: 6 });
  });
});
