import assert from 'node:assert/strict';
import { test } from 'node:test';
import { executableSkip } from '../support/executable.ts';
import { inReverse } from '../support/in-reverse.ts';
import { chaos } from './chaos.ts';

test(
  'SC-31: builds end right while processes are killed, stopped, cut off and out of disk, and nothing is left',
  { skip: executableSkip(), timeout: 300_000 },
  async (t) => {
    const seed = Number(process.env['EXPBUILD_SEED'] ?? process.hrtime.bigint() % 1_000_000n);
    t.diagnostic(`seed ${seed}; for longer: node scripts/chaos.ts --seed ${seed}`);
    const lines: string[] = [];
    const { history, faults } = await chaos(inReverse(t), {
      seed,
      ms: 5_000,
      faultMsMax: 2_000,
      pauseMsMax: 1_000,
      calmMs: 120_000,
      trace: (line) => lines.push(line),
    });
    assert.deepEqual(history.findings, [], lines.join('\n'));
    assert.ok(faults.size > 0);
    assert.ok(history.done.size > 0);
  },
);
