// Times what isolation adds to an action: `/bin/true`, one after the other, in each level.
//
//   node scripts/bench/executors.ts [--rounds 5] [--socket /var/run/docker.sock --image busybox]
//
// With a socket of Docker's daemon it measures containers too: on runc, and on runsc where the daemon knows it.
// Levels take turns. Prints the median milliseconds of one command, and what that is more than a plain
// child of Node. As root, with users of their own and cgroups; else without.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { newId } from '../../src/base/id.ts';
import { ContainerCgroups } from '../../src/executor/container-cgroup.ts';
import { DockerEngine } from '../../src/executor/docker-engine.ts';
import { DockerExecutor } from '../../src/executor/docker-executor.ts';
import { DockerImages } from '../../src/executor/docker-images.ts';
import type { Executor } from '../../src/executor/executor.ts';
import { findCgroupParents, placesBelow } from '../../src/executor/find-cgroups.ts';
import {
  defaultHostExecutorOptions,
  HostExecutor,
  type HostExecutorOptions,
} from '../../src/executor/host-executor.ts';
import { Sandbox } from '../../src/executor/sandbox.ts';
import { scratchFolder } from '../support.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    socket: { type: 'string' },
    image: { type: 'string', default: 'busybox' },
  },
});
const rounds = Number(values.rounds);
const commandsEach = 50;
const containersEach = 10;
const folder = scratchFolder('bench');
const owner = process.getuid?.() === 0 ? { uid: 64_900, gid: 64_900 } : undefined;
const main = path.resolve(import.meta.dirname, '../../src/main.ts');
const sandbox = await Sandbox.find({
  searchPath: process.env['PATH'] ?? '',
  folder: path.join(folder, 'sandbox'),
  readonlyPaths: [],
  tmpBytesMax: 2 ** 30,
  processesMax: undefined,
  networkAllowed: false,
  resolvConf: undefined,
});
const parents = findCgroupParents();
const places = placesBelow(parents, `expbuild-bench-${process.pid}`);
const limits = { memoryBytesMax: 2 ** 30, processesMax: 4_096, cpusMax: undefined };
const cgroup = parents.length > 0 ? { places, limits } : undefined;

const levels: readonly (readonly [name: string, options: Partial<HostExecutorOptions>])[] = [
  ['host', { owner }],
  ['host, cgroup', { owner, cgroup }],
  ['sandbox', { owner, sandbox }],
  ['sandbox, cgroup', { owner, sandbox, cgroup }],
];

async function plain(): Promise<number> {
  const startedAt = performance.now();
  for (let i = 0; i < commandsEach; i++) {
    await once(spawn('/bin/true', { stdio: 'ignore' }), 'exit');
  }
  return (performance.now() - startedAt) / commandsEach;
}

let runs = 0;

async function round(executor: Executor, commands: number): Promise<number> {
  let spentMs = 0;
  for (let i = 0; i < commands; i++) {
    const own = path.join(folder, String(++runs));
    const inputRoot = path.join(own, 'root');
    mkdirSync(inputRoot, { recursive: true });
    if (owner) chownSync(inputRoot, owner.uid, owner.gid);
    const command = {
      argv: ['/bin/true'],
      environment: {},
      workingDirectory: inputRoot,
      temporary: inputRoot,
      folder: own,
      stdoutPath: path.join(own, 'stdout'),
      stderrPath: path.join(own, 'stderr'),
      timeoutMs: 60_000,
      network: false,
      memoryBytesMax: undefined,
    } as const;
    const startedAt = performance.now();
    await executor.run(command, inputRoot, new AbortController().signal);
    spentMs += performance.now() - startedAt;
    rmSync(own, { recursive: true });
  }
  return spentMs / commands;
}

const launcherCommand = [process.execPath, main, 'launcher'] as const;
const executors = new Map<string, HostExecutor>();
const containers = new Map<string, Executor>();
if (values.socket !== undefined) {
  const engine = new DockerEngine(values.socket);
  const { runtimes, architecture } = await engine.facts();
  const policy = { image: values.image, allowed: [], requiresDigest: false } as const;
  const images = new DockerImages(
    engine,
    { ...policy, pull: 'missing', credentialsPath: undefined },
    architecture,
  );
  for (const runtime of runtimes.filter((name) => name === 'runc' || name === 'runsc')) {
    const docker = new DockerExecutor({
      engine,
      images,
      cgroups: new ContainerCgroups(),
      user: owner,
      runtime,
      network: undefined,
      limits: { ...limits, tmpBytesMax: 2 ** 30, fileBytesMax: 2 ** 36 },
      labels: { 'expbuild.worker': 'bench' },
      graceMs: 2_000,
      outputBytesMax: 2 ** 20,
      newId,
    });
    containers.set(`docker, ${runtime}`, docker);
  }
}
for (const [name, options] of levels) {
  const all = { ...defaultHostExecutorOptions, launcherCommand, ...options };
  executors.set(name, await HostExecutor.start(all));
}
const times = new Map<string, number[]>([['plain', []]]);
for (let i = 0; i <= rounds; i++) {
  const taken = new Map<string, number>([['plain', await plain()]]);
  for (const [name, executor] of executors) taken.set(name, await round(executor, commandsEach));
  for (const [name, executor] of containers) taken.set(name, await round(executor, containersEach));
  // The first warms up.
  if (i > 0) for (const [name, ms] of taken) times.set(name, [...(times.get(name) ?? []), ms]);
}
const median = (some: readonly number[]) =>
  some.toSorted((a, b) => a - b)[some.length >> 1] ?? Number.NaN;
const base = median(times.get('plain') ?? []);
console.log('| level | ms for each command | more than a plain child |\n| --- | --- | --- |');
for (const [name, some] of times) {
  console.log(`| ${name} | ${median(some).toFixed(1)} | ${(median(some) - base).toFixed(1)} |`);
}
for (const executor of executors.values()) await executor.close();
rmSync(folder, { recursive: true, force: true });
