import { existsSync } from 'node:fs';
import type { CgroupRequest, CommandLimits } from '../../src/executor/command-cgroup.ts';
import { findCgroupParents, placesBelow } from '../../src/executor/find-cgroups.ts';

const parents = findCgroupParents();
const controllers = new Set(parents.flatMap((parent) => parent.controllers));

/** Why tests of limits cannot run here; false when they can. */
export const cgroupSkip: string | false =
  controllers.has('memory') && controllers.has('pids')
    ? false
    : 'needs the right to make cgroups that limit memory and processes';

let made = 0;

/** A cgroup for the commands of one executor, with the limits that are told. */
export function testCgroup(limits: Partial<CommandLimits> = {}): CgroupRequest {
  return {
    places: placesBelow(parents, `expbuild-test-${process.pid}-${++made}`),
    limits: { memoryBytesMax: undefined, cpusMax: undefined, processesMax: 1_000, ...limits },
  };
}

/** As on a machine that has only version 1, which cannot kill all of a cgroup at once. */
export function ofVersionOne({ places, limits }: CgroupRequest): CgroupRequest {
  return { places: places.filter(({ version }) => version === 1), limits };
}

/** As on a machine where version 1 has all the controllers, and nobody may use it. */
export function ofVersionTwo({ places, limits }: CgroupRequest): CgroupRequest {
  const all = places.filter(({ version }) => version === 2);
  return { places: all.map((place) => ({ ...place, controllers: [] })), limits };
}

/** Whether something of a command is left. */
export function isLeft({ places }: CgroupRequest): boolean {
  return places.some(({ folder }) => existsSync(folder));
}
