import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { bazelSkip, bazelWorkspace } from '../support/bazel.ts';
import { executableSkip, type RunningRole } from '../support/executable.ts';
import { Farm } from '../support/farm.ts';

/** A server, and workers that are called so. */
async function startFarm(t: TestContext, workers: readonly string[]) {
  const farm = await Farm.create(t);
  const server = await farm.startServer();
  const running = new Map<string, RunningRole>();
  for (const id of workers) running.set(id, await farm.startWorker(id));
  return { port: farm.port, server, startServer: () => farm.startServer(), workers: running };
}

const build = (port: number) => [
  '//slow',
  `--remote_executor=grpc://127.0.0.1:${port}`,
  '--spawn_strategy=remote',
  '--remote_local_fallback=false',
];

const skip = executableSkip() || bazelSkip('2.1.0');
describe('a build goes on', { skip, timeout: 180_000 }, () => {
  test('SC-01, WRK-15, EXE-64: when a worker is killed in the middle of an action', async (t) => {
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
