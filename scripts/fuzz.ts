// Sends a server of its own what no client should send, as a seed says, until the time is over or
// something is found.
//
//   node scripts/fuzz.ts [--minutes 10] [--seed 4711] [--verbose]
import { parseArgs } from 'node:util';
import { fuzz } from '../test/fuzz/fuzz.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: String(process.hrtime.bigint() % 1_000_000n) },
    verbose: { type: 'boolean', default: false },
  },
});

console.log(`seed ${values.seed}`);
const endsAt = performance.now() + Number(values.minutes) * 60_000;
const { calls, findings, seen, heapGrowthBytes } = await fuzz(
  Number(values.seed),
  () => performance.now() < endsAt,
);
if (values.verbose) {
  for (const [answer, count] of seen) console.log(`${count}\t${answer}`);
}
for (const finding of new Set(findings)) console.error(finding);
console.log(
  `${calls} calls, ${findings.length} findings, ` +
    `${(heapGrowthBytes / 2 ** 20).toFixed(1)} MiB more in the heap at the end`,
);
if (findings.length > 0) process.exitCode = 1;
