import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Simulation } from './simulation.ts';

const seeds = 500;

test(`SC-01, SC-07, SC-09, SC-30: ${seeds} seeds of failing workers, scheduler and network lose nothing, end everything, and tell in time what cannot run`, () => {
  let succeeded = 0;
  let brought = 0;
  let enlarged = 0;
  for (let seed = 1; seed <= seeds; seed += 1) {
    try {
      const summary = new Simulation(seed).run();
      succeeded += summary.succeeded;
      brought += summary.brought;
      enlarged += summary.enlarged;
    } catch (cause) {
      throw new Error(`seed ${seed} (node scripts/simulate-scheduler.ts --seed ${seed})`, {
        cause,
      });
    }
  }
  assert.ok(succeeded > seeds * 10, `only ${succeeded} operations succeeded: too little was tried`);
  assert.ok(enlarged > seeds / 10, `only ${enlarged} runs were given more memory`);
  assert.ok(brought > seeds / 4, `only ${brought} results came after a crash of their worker`);
});
