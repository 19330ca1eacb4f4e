// Lets the scheduler meet with failing workers, networks and power supplies, as seeds say.
//
//   node scripts/simulate-scheduler.ts --seeds 10000 [--from 501]
//   node scripts/simulate-scheduler.ts --seed 4711        one of them, with all that happens in it
import { parseArgs } from 'node:util';
import { Simulation } from '../test/scheduler/simulation.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '10000' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
  },
});

if (values.seed !== undefined) {
  const lines: string[] = [];
  try {
    console.log(new Simulation(Number(values.seed), lines).run());
  } finally {
    console.log(lines.join('\n'));
  }
} else {
  const from = Number(values.from);
  let operations = 0;
  for (let seed = from; seed < from + Number(values.seeds); seed += 1) {
    try {
      operations += new Simulation(seed).run().operations;
    } catch (thrown) {
      console.error(`seed ${seed}:`, thrown);
      process.exitCode = 1;
    }
  }
  console.log(`${values.seeds} seeds, ${operations} operations`);
}
