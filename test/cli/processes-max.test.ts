import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { silentLog } from '../../src/base/log.ts';
import { startExecutors } from '../../src/cli/start-executors.ts';
import { readWorkerConfig } from '../../src/config/worker-config.ts';
import { cgroupSkip } from '../support/cgroup.ts';
import { inReverse } from '../support/in-reverse.ts';
import { never } from '../support/never.ts';
import { sandboxSkip } from '../support/sandbox.ts';
import { tempDir } from '../support/temp-dir.ts';
import { testSurroundings } from '../support/test-surroundings.ts';

/** Nobody else's: what others run as the user would count. */
const uid = 63_217;
const rootSkip = process.getuid?.() === 0 ? cgroupSkip : 'needs root';
/** Waits for nobody, and fails at the first process that it cannot have. */
const many = 'for n in $(seq 60); do sleep 1000 & done';

for (const [type, skip] of [
  ['host', rootSkip],
  ['sandbox', rootSkip || sandboxSkip],
] as const) {
  test(
    `WK-27: a worker as root tells of a command (${type}) that it met the limit of processes`,
    { skip },
    async (context) => {
      const t = inReverse(context);
      const folder = tempDir(t);
      const surroundings = {
        ...testSurroundings(folder),
        uid: 0,
        environment: { PATH: '/usr/bin' },
      };
      const text = `slots = 1\n[executor]\ntype = "${type}"\nprocesses_max = 30\nuid = ${uid}`;
      const file = { path: 'worker.toml', text };
      const config = readWorkerConfig({ file, environment: {}, flags: [] }, surroundings, folder);
      mkdirSync(config.rootPath);
      const closing = new AsyncDisposableStack();
      t.after(() => closing.disposeAsync());
      const worker = { workerId: 'one', newId: () => 'one' };
      const { executors } = await startExecutors(config, worker, surroundings, silentLog, closing);
      const action = path.join(folder, 'action');
      const inputRoot = path.join(action, 'root');
      mkdirSync(inputRoot, { recursive: true });
      const outcome = await executors[0]?.run(
        {
          argv: ['sh', '-c', many],
          environment: {},
          workingDirectory: inputRoot,
          temporary: action,
          folder: action,
          stdoutPath: path.join(action, 'stdout'),
          stderrPath: path.join(action, 'stderr'),
          timeoutMs: 60_000,
          network: false,
          memoryBytesMax: undefined,
        },
        inputRoot,
        never,
      );
      assert.ok(outcome?.kind === 'resource-limit', JSON.stringify(outcome));
      assert.match(outcome.message, /its limit of 30 processes and threads/);
    },
  );
}
