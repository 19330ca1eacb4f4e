// Times ExpBuild against a plain grpc-js server on this machine, both in the same run, taking turns.
//
//   npm run bench [-- --rounds 5] [--only NAME]
//
// Prints, for each workload, the median rate of both and their ratio, and the server's processor time
// for each unit and its ratio. The load comes from one Node process, which is often the slower side:
// the processor time says more than the rate.
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { cpus, loadavg, release } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { expbuild, freePort, scratchFolder, startRole, stopRole } from '../support.ts';
import { execNoop } from './exec-noop.ts';
import { connect, cpuSeconds, type Target } from './load.ts';
import { type Scenario, scenarios } from './scenarios.ts';

const { values: options } = parseArgs({
  options: { rounds: { type: 'string', default: '5' }, only: { type: 'string', default: '' } },
});
const rounds = Number(options.rounds);

interface Figure {
  readonly perSecond: number;
  readonly cpuMicros: number;
}

async function oneRound(scenario: Scenario, target: Target): Promise<Figure> {
  const round = await scenario.prepare(target);
  const cpuBefore = cpuSeconds(target.pid);
  const startedAt = performance.now();
  await round();
  const seconds = (performance.now() - startedAt) / 1000;
  return {
    perSecond: scenario.amount / seconds,
    cpuMicros: ((cpuSeconds(target.pid) - cpuBefore) * 1e6) / scenario.amount,
  };
}

function median(figures: readonly Figure[], of: (figure: Figure) => number): number {
  const sorted = figures.map(of).toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

const rounded = (value: number) => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));

async function compare(scenario: Scenario, ours: Target, floor: Target): Promise<void> {
  const figures: { readonly ours: Figure[]; readonly floor: Figure[] } = { ours: [], floor: [] };
  await oneRound(scenario, ours);
  await oneRound(scenario, floor);
  for (let round = 0; round < rounds; round++) {
    figures.ours.push(await oneRound(scenario, ours));
    figures.floor.push(await oneRound(scenario, floor));
  }
  const rate = [
    median(figures.ours, (f) => f.perSecond),
    median(figures.floor, (f) => f.perSecond),
  ];
  const cpu = [median(figures.ours, (f) => f.cpuMicros), median(figures.floor, (f) => f.cpuMicros)];
  const cells = [
    scenario.name,
    `${rounded(rate[0] ?? 0)} ${scenario.unit}/s`,
    rounded(rate[1] ?? 0),
    `${((rate[0] ?? 0) / (rate[1] ?? 1)).toFixed(2)}×`,
    `${rounded(cpu[0] ?? 0)} µs`,
    rounded(cpu[1] ?? 0),
    `${((cpu[0] ?? 0) / (cpu[1] ?? 1)).toFixed(2)}×`,
  ];
  console.log(`| ${cells.join(' | ')} |`);
}

const folder = scratchFolder('bench');
const ports = [await freePort(), await freePort()] as const;
const server = await startRole(
  [expbuild, 'up', '--address', `127.0.0.1:${ports[0]}`, '--data', folder],
  new RegExp(`:${ports[0]}`),
  () => {},
);
const baseline = spawn(
  process.execPath,
  [path.join(import.meta.dirname, 'baseline-server.ts'), String(ports[1])],
  { stdio: ['ignore', 'pipe', 'inherit'] },
);
try {
  await new Promise((resolve) => baseline.stdout.once('data', resolve));
  const ours = connect('expbuild', server.pid ?? 0, ports[0], 8);
  const floor = connect('plain grpc-js', baseline.pid ?? 0, ports[1], 8);
  console.log(
    `Node ${process.versions.node}, Linux ${release()}, ${cpus().length} × ${cpus()[0]?.model}, ` +
      `load ${loadavg()[0]?.toFixed(1)} before, median of ${rounds} rounds\n`,
  );
  console.log('| workload | ExpBuild | plain | ratio | CPU each | plain | ratio |');
  console.log('| --- | --- | --- | --- | --- | --- | --- |');
  for (const scenario of scenarios) {
    if (scenario.name.includes(options.only)) await compare(scenario, ours, floor);
  }
  if ('exec-noop'.includes(options.only)) console.log(await execNoop(ports[0], rounds));
  for (const client of [...ours.clients, ...floor.clients]) client.close();
} finally {
  baseline.kill();
  await stopRole(server);
  rmSync(folder, { recursive: true, force: true });
}
