// A server, three workers and builds as processes of their own, while a seeded nemesis kills, stops and cuts
// them off and fills their disks; then looks whether every build ended right and nothing is left (SC-31).
// Full disks need the rights of root, without which there are none.
//
//   node scripts/chaos.ts [--minutes 10] [--seed 4711] [--verbose]
import { parseArgs } from 'node:util';
import { chaos } from '../test/chaos/chaos.ts';
import { inReverse } from '../test/support/in-reverse.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: String(process.hrtime.bigint() % 1_000_000n) },
    verbose: { type: 'boolean', default: false },
  },
});

console.log(`seed ${values.seed}`);
let close = async () => {};
const hooks = inReverse({ after: (hook) => (close = hook as () => Promise<void>) });
try {
  const startedAt = performance.now();
  const { history, faults } = await chaos(hooks, {
    seed: Number(values.seed),
    ms: Number(values.minutes) * 60_000,
    // Longer than a worker may be silent, 30 s.
    faultMsMax: 45_000,
    pauseMsMax: 5_000,
    calmMs: 180_000,
    trace: (line) => {
      if (values.verbose)
        console.log(`${((performance.now() - startedAt) / 1000).toFixed(1)} ${line}`);
    },
  });
  for (const [what, count] of history.again) console.log(`${count}\tagain after ${what}`);
  console.log(history.builds, history.steps, Object.fromEntries(faults));
  for (const finding of history.findings) console.error(finding);
  if (history.findings.length > 0) process.exitCode = 1;
} finally {
  await close();
}
