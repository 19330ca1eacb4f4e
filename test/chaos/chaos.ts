import { readdirSync } from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { systemClock } from '../../src/base/clock.ts';
import { becomes } from '../support/appears.ts';
import { Farm } from '../support/farm.ts';
import { holdingProxy } from '../support/holding-proxy.ts';
import { never } from '../support/never.ts';
import { processesNaming } from '../support/processes.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { stepsOf } from './build-steps.ts';
import { Builder, History } from './builder.ts';
import { Machine, SmallDisk } from './machine.ts';
import { Nemesis, type Victim } from './nemesis.ts';

export interface ChaosOptions {
  readonly seed: number;
  /** How long things break; mending and looking at what is left comes on top. */
  readonly ms: number;
  readonly faultMsMax: number;
  readonly pauseMsMax: number;
  /** How long builds may take once all is mended. */
  readonly calmMs: number;
  readonly trace: (line: string) => void;
}

export interface ChaosSummary {
  readonly history: History;
  /** By their kind. */
  readonly faults: ReadonlyMap<string, number>;
}

const builders = 3;
const workers = ['one', 'two', 'three'];

/** A server and three workers as processes of their own, all of which break again and again, and builds that go on. */
export async function chaos(
  t: Pick<TestContext, 'after'>,
  options: ChaosOptions,
): Promise<ChaosSummary> {
  const { seed, ms, calmMs, trace } = options;
  const random = seededRandom(seed);
  const farm = await Farm.create(t);
  const mark = `chaos ${seed} ${farm.port}`;
  const folder = farm.folder('builds');
  const { victims, port, disks } = await startAll(t, farm);
  const history = new History(disks);
  const nemesis = new Nemesis({ ...options, victims, random });

  const raging = new AbortController();
  const breaking = nemesis.rage(raging.signal);
  const late = new AbortController();
  const isOver = () => raging.signal.aborted || history.findings.length > 20;
  const building = Array.from({ length: builders }, async () => {
    const builder = new Builder(port, mark, history);
    while (!isOver()) {
      const version = Math.floor((history.builds.ended * 2) / builders);
      const steps = stepsOf(version, folder, () => random() * 400);
      const leaving = random() < 0.1 ? AbortSignal.timeout(Math.floor(random() * 5_000)) : never;
      await builder.build(steps, AbortSignal.any([leaving, late.signal]));
    }
    builder.close();
  });
  await systemClock.sleep(ms, never);
  trace('calm');
  raging.abort();
  await breaking;
  const tooLate = systemClock.sleep(calmMs, AbortSignal.any([late.signal])).then(
    () => {
      history.findings.push(`builds do not end ${calmMs} ms after all is well`);
      late.abort();
    },
    () => {},
  );
  await Promise.all(building);
  late.abort();
  await tooLate;
  await lookAround(farm, victims, mark, history);
  return { history, faults: nemesis.faults };
}

/** The victims, and where builds find their server. */
async function startAll(t: Pick<TestContext, 'after'>, farm: Farm) {
  const { root } = farm;
  const disks = new Map<string, SmallDisk>();
  const own = ['cas', 'scheduler'].flatMap(
    (name) => SmallDisk.mount(t, path.join(root, name), name === 'cas' ? 512 : 32) ?? [],
  );
  const server = new Machine('server', () => farm.startServer());
  await server.start();
  const line = await holdingProxy(t, farm.port);
  const victims: Victim[] = [{ machine: server, line, disks: own }];
  const starting = workers.map(async (name) => {
    const way = await holdingProxy(t, farm.port);
    const toml = `server_url = "127.0.0.1:${way.port}"\ndrain_timeout = "2s"`;
    const disk = SmallDisk.mount(t, path.join(root, name), 64);
    if (disk) disks.set(name, disk);
    const machine = new Machine(name, () =>
      // The scheduler may be away.
      farm.startWorker(name, { toml, ready: /working/ }),
    );
    await machine.start();
    victims.push({ machine, line: way, disks: disk ? [disk] : [] });
  });
  await Promise.all(starting);
  return { victims, port: line.port, disks };
}

/** Once all builds have ended: nothing of them runs, nothing is left, and all results are there after one more crash. */
async function lookAround(
  farm: Farm,
  [server, ...others]: readonly Victim[],
  mark: string,
  history: History,
): Promise<void> {
  const { findings } = history;
  const gone = async (what: string, look: () => readonly string[]) => {
    await becomes(look, ({ length }) => length === 0).catch((error: unknown) =>
      findings.push(`${what}: ${String(error)}`),
    );
  };
  await gone('processes', () => processesNaming(mark));
  for (const { machine } of others) {
    const own = path.join(farm.root, machine.name);
    await gone(`folders of ${machine.name}`, () => readdirSync(path.join(own, 'actions')));
    await gone(`results of ${machine.name}`, () => readdirSync(path.join(own, 'outbox')));
  }
  const open = readdirSync(`/proc/${server?.machine.pid}/fd`).length;
  if (open > 200) findings.push(`the server has ${open} files open`);
  await server?.machine.kill();
  await server?.machine.start();
  const builder = new Builder(farm.port, mark, history);
  await builder.check(never);
  builder.close();
  const incoming = path.join(farm.root, 'cas', 'incoming');
  await gone('uploads', () => readdirSync(incoming));
  for (const { machine } of [server, ...others].filter((victim) => victim !== undefined)) {
    for (const line of machine.output.split('\n')) {
      if (/assert|uncaught|unhandled|TypeError/i.test(line)) {
        findings.push(`${machine.name} says: ${line}`);
      }
    }
  }
}
