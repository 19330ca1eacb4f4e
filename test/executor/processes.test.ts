import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';

const namespace = ['--user', '--map-root-user', '--pid', '--fork', '--mount-proc'];
const program = path.join(import.meta.dirname, '..', 'support', 'reused-number.ts');
const skip =
  spawnSync('unshare', [...namespace, 'test', '-w', '/proc/sys/kernel/ns_last_pid']).status === 0
    ? false
    : 'needs a namespace of processes, in which their numbers can be chosen';

test(
  'WK-30: a process that has got the number of a command that ended is not signalled',
  { skip, timeout: 60_000 },
  () => {
    const { status, stdout, stderr } = spawnSync(
      'unshare',
      [...namespace, '--kill-child', process.execPath, program],
      { encoding: 'utf8' },
    );
    assert.equal(status, 0, stderr);
    assert.equal(stdout, 'spared\n');
  },
);
