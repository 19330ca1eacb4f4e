import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { executableSkip } from '../support/executable.ts';
import { tempDir } from '../support/temp-dir.ts';

/** Small, so that it takes seconds: the script itself, without options, is for 4 GiB. */
const gib = '0.0625';

test(
  'CAS-64: a blob goes in and out, as it is and in zstd, below the bound of scripts/flat-memory.ts',
  { skip: executableSkip() },
  async (t) => {
    const argv = ['scripts/flat-memory.ts', '--gib', gib];
    const env = { ...process.env, TMPDIR: tempDir(t) };
    const { stdout } = await promisify(execFile)(process.execPath, argv, { env });
    for (const step of ['write', 'read', 'write zstd', 'read zstd']) {
      assert.match(stdout, new RegExp(`\\| ${step} \\| \\d+ MB/s \\| \\d+ MiB \\|`));
    }
  },
);
