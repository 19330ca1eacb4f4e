import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cgroupSkip } from '../support/cgroup.ts';
import { startFleet } from '../support/fleet.ts';

/** Holds 100 MiB in one process. */
const large = 'head -c 104857600 /dev/zero | tail >/dev/null';

test(
  'what runs out of memory on a small worker runs on a larger one, unless it chose its limit',
  { skip: cgroupSkip },
  async (t) => {
    const { cli, worker, joined } = await startFleet(t);
    const executor = '[executor]\ntype = "host"\nmemory_max';
    await worker('small', `${executor} = "32MiB"\n[platform]\nsize = "small"`);
    const run = (...flags: string[]) =>
      cli([
        'run',
        '--no-cache',
        '--platform',
        'prefer:size=small',
        ...flags,
        '--',
        'sh',
        '-ec',
        large,
      ]);
    const alone = await run();
    assert.equal(alone.exitCode, 137);
    assert.match(alone.stderr, /it used more memory than its limit of 32(\.0)? MiB \(peak/);
    await worker('large', `${executor} = "1GiB"\n[platform]\nsize = "large"`);
    await joined('large');
    const helped = await run();
    assert.equal(helped.exitCode, 0, helped.stderr);
    const chosen = await run('--platform', 'memory=24MiB');
    assert.equal(chosen.exitCode, 137);
    assert.match(chosen.stderr, /its limit of 24(\.0)? MiB/);
  },
);
