import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { newId } from '../../src/base/id.ts';
import { silentLog } from '../../src/base/log.ts';
import { startExecutors } from '../../src/cli/start-executors.ts';
import { readWorkerConfig } from '../../src/config/worker-config.ts';
import { never } from '../support/never.ts';
import { sandboxSkip } from '../support/sandbox.ts';
import { tempDir } from '../support/temp-dir.ts';
import { testSurroundings } from '../support/test-surroundings.ts';

/** Leaves out one of the arguments. */
const weakened = (argument: string) => `#!/bin/sh
for each do shift; [ "$each" = ${argument} ] || set -- "$@" "$each"; done
exec /usr/bin/bwrap "$@"
`;

test(
  'DK-15: what a worker proved when it started can be proved again, and is found broken later',
  { skip: sandboxSkip, timeout: 120_000 },
  async (t) => {
    const folder = tempDir(t);
    const programs = path.join(folder, 'bin');
    const bubblewrap = path.join(programs, 'bwrap');
    mkdirSync(programs);
    writeFileSync(bubblewrap, weakened('nothing'));
    chmodSync(bubblewrap, 0o755);
    const surroundings = { ...testSurroundings(folder), environment: { PATH: programs } };
    const file = { path: 'worker.toml', text: '[executor]\ntype = "sandbox"' };
    const config = readWorkerConfig({ file, environment: {}, flags: [] }, surroundings, folder);
    mkdirSync(config.rootPath);
    await using closing = new AsyncDisposableStack();
    const identity = { workerId: 'worker-1', newId };
    const started = await startExecutors(config, identity, surroundings, silentLog, closing);
    const { executors, proofs } = started;
    let tests = 0;
    const prove = async () => {
      const [executor] = executors;
      assert.ok(executor && proofs.length > 0);
      for (const proof of proofs) {
        await proof(executor, path.join(config.rootPath, `again-${++tests}`), never);
      }
    };
    await prove();
    writeFileSync(bubblewrap, weakened('--unshare-net'));
    await assert.rejects(prove, {
      message: /the executor "sandbox" cannot be used: a first command was run without: no network/,
    });
    writeFileSync(bubblewrap, '#!/bin/sh\necho broken >&2; exit 3\n');
    await assert.rejects(prove, { message: /cannot be used: a first command exited: broken/ });
    writeFileSync(bubblewrap, weakened('nothing'));
    await prove();
  },
);
