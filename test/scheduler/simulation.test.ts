import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Simulation } from './simulation.ts';

const seeds = 500;

test(`SC-30: ${seeds} seeds of failing workers, scheduler and network lose nothing, end everything`, () => {
  let succeeded = 0;
  for (let seed = 1; seed <= seeds; seed += 1) {
    try {
      succeeded += new Simulation(seed).run().succeeded;
    } catch (cause) {
      throw new Error(`seed ${seed} (node scripts/simulate-scheduler.ts --seed ${seed})`, {
        cause,
      });
    }
  }
  assert.ok(succeeded > seeds * 10, `only ${succeeded} operations succeeded: too little was tried`);
});
