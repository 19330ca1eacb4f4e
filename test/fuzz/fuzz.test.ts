import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzz } from './fuzz.ts';

/** Of the server's and the client's processor together, some ten seconds. */
const calls = 4000;

test('ERR-02, CI-01, DS-07, HI-32: nonsense to every method is answered by the contract, and stores nothing', async (t) => {
  const seed = Number(process.env['EXPBUILD_SEED'] ?? process.hrtime.bigint() % 1_000_000n);
  t.diagnostic(`seed ${seed}; again: node scripts/fuzz.ts --seed ${seed}`);
  const { findings, seen } = await fuzz(seed, ({ calls: made }) => made < calls);
  assert.deepEqual(findings, []);
  const answered = [...seen.keys()].filter((answer) => answer.endsWith(' 0'));
  assert.ok(answered.length > 15, `only ${answered.join(', ')} were ever answered with OK`);
});
