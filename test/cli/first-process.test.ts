import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { executable, executableSkip, startRole } from '../support/executable.ts';
import { tempDir } from '../support/temp-dir.ts';

const alone = ['--pid', '--fork', '--mount-proc', '--kill-child'];

test('a worker without an init above it says that ended processes stay', async (t) => {
  const skip = executableSkip();
  if (skip !== false) return t.skip(skip);
  if (spawnSync('unshare', [...alone, 'true']).status !== 0) {
    return t.skip('cannot make a namespace of processes here');
  }
  const settings = ['executor.type=host', `root_path=${tempDir(t)}`].flatMap((to) => ['--set', to]);
  const args = ['worker', '--join', '127.0.0.1:1', ...settings];
  const program = ['unshare', ...alone, executable];
  const worker = await startRole(t, args, /docker run --init/, {}, program);
  assert.match(worker.output(), /process 1/);
  // `unshare` holds back other signals until its child has ended.
  await worker.kill();
  // `unshare` takes no SIGTERM while it waits for its child.
  await worker.kill();
});
