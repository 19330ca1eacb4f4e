import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { endStrays } from '../../src/executor/end-strays.ts';
import { isAlive, lineOf, untilDead } from '../support/executor-bench.ts';
import { launcherCommand } from '../support/host-executor.ts';
import { tempDir } from '../support/temp-dir.ts';

test('WK-05: when a worker and its launcher are killed at once, the next worker ends what they ran', async (t) => {
  const actions = path.join(tempDir(t), 'actions');
  const folder = path.join(actions, 'one');
  mkdirSync(folder, { recursive: true });
  const script = `
    import { startHostExecutor } from ${JSON.stringify(path.resolve('test/support/host-executor.ts'))};
    const executor = await startHostExecutor({ after() {} });
    const folder = ${JSON.stringify(folder)};
    await executor.run({ argv: ['sh', '-c', 'trap "" TERM HUP; setsid sh -c "echo \\\\$\\\\$ > child; sleep 1000; sleep 1000" > /dev/null 2>&1 & ' +
      'echo $PPID > launcher; echo $$ > id; sleep 1000; sleep 1000'], environment: {},
      workingDirectory: folder, folder, stdoutPath: folder + '/1', stderrPath: folder + '/2',
      temporary: folder + '/tmp', timeoutMs: 100000 }, '', new AbortController().signal);`;
  const worker = spawn(launcherCommand[0], ['--input-type=module', '-e', script], {
    stdio: 'inherit',
  });
  const names = ['launcher', 'id', 'child'];
  const [launcher = '', ...ids] = await Promise.all(
    names.map((name) => lineOf(path.join(folder, name))),
  );
  const exited = once(worker, 'exit');
  // Neither sees the end of the other.
  worker.kill('SIGSTOP');
  process.kill(Number(launcher), 'SIGKILL');
  worker.kill('SIGKILL');
  await exited;
  assert.deepEqual(ids.map(isAlive), [true, true]);
  await endStrays([folder]);
  await Promise.all(ids.map(untilDead));
});

test('WK-05: what is of no command that was left is let be, and nobody who asks', async (t) => {
  const actions = path.join(tempDir(t), 'actions');
  await endStrays([]);
  const environment = { PATH: process.env['PATH'] ?? '', AT: `${actions}/other/tmp` };
  const other = spawn('sleep', ['1000'], { env: environment });
  t.after(() => other.kill());
  await once(other, 'spawn');
  await endStrays([path.join(actions, 'one')]);
  assert.ok(isAlive(String(other.pid)));
});
