import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { Code } from '../../src/base/status.ts';
import { runAction } from '../../src/worker/run-action.ts';
import { actionEnvironment } from '../support/action-environment.ts';
import { putAction } from '../support/action-of.ts';
import { startHostExecutor } from '../support/host-executor.ts';
import { inReverse } from '../support/in-reverse.ts';
import { PlainBlobStore } from '../support/memory-blob-store.ts';
import { never } from '../support/never.ts';
import { tempDir } from '../support/temp-dir.ts';

const unheard = () => {};
const events = { phase: unheard, streams: unheard, memoryLimitMet: unheard, inputsLeft: unheard };

test('DF-08: what a command made on a disk that was full is no success, whatever it says', async (c) => {
  const t = inReverse(c);
  const root = tempDir(t);
  const small = path.join(root, 'small');
  mkdirSync(small);
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'none', small]).status !== 0) {
    return c.skip('cannot mount a tmpfs here');
  }
  t.after(() => execFileSync('umount', ['-l', small]));
  const blobs = new PlainBlobStore();
  const executor = await startHostExecutor(t);
  const environment = await actionEnvironment(root);
  const folder = path.join(small, 'action');
  const run = async (script: string) => {
    const action = await putAction(blobs, script);
    const lease = { instanceName: '', action, timeoutMs: 60_000, queuedAt: undefined, blobs };
    try {
      return await runAction({ ...lease, executor, folder }, environment, events, never);
    } finally {
      rmSync(folder, { recursive: true });
    }
  };
  const fill = 'head -c 9000000 /dev/zero >fill 2>/dev/null';
  for (const script of [`${fill}; true`, `${fill}; sleep 2; rm fill; true`]) {
    await assert.rejects(run(script), {
      code: Code.RESOURCE_EXHAUSTED,
      message: /the disk of .* was full while the command ran/,
    });
  }
  assert.equal((await run(`${fill}; exit 3`)).result?.exitCode, 3);
  assert.equal((await run('echo x >o')).result?.exitCode, 0);
});
