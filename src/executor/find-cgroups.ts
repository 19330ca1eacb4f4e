import { accessSync, constants, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { CgroupFolder } from './cgroup-files.ts';
import type { CgroupPlace } from './command-cgroup.ts';

/** A cgroup that others can be made below. */
export interface CgroupParent extends CgroupFolder {
  /** Where this process, and those that it starts, stay. */
  readonly home: string;
}

/** What limits and ends commands. */
const wanted = ['memory', 'pids', 'cpu'];
/** What counts what a command uses. */
const counting = ['memory', 'pids', 'cpuacct'];

/**
 * The cgroups that this process may make others in, so that all of a command can be limited and ended:
 * one where version 2 has the controllers, else one for each of version 1, and the one of version 2
 * beside them, which alone can kill. Without rights to any, an empty list.
 */
export function findCgroupParents(): CgroupParent[] {
  return cgroupMounts('self', wanted).flatMap((mount) => {
    try {
      const parent = mount.version === 2 ? parentOfTwo(mount) : parentOfOne(mount);
      const tried = path.join(parent.folder, `expbuild-try-${process.pid}`);
      mkdirSync(tried);
      rmdirSync(tried);
      return [parent];
    } catch {
      return [];
    }
  });
}

/** Where the commands of one slot are counted, below each of `parents`. */
export function placesBelow(parents: readonly CgroupParent[], name: string): CgroupPlace[] {
  return parents.map(({ folder, ...rest }) => ({ ...rest, folder: path.join(folder, name) }));
}

/** Where a process is counted, as far as it can be seen from here; nothing when it has ended. */
export function findCgroupsOf(processId: number): CgroupFolder[] {
  const found: CgroupFolder[] = [];
  try {
    for (const { version, controllers, point, below } of cgroupMounts(processId, counting)) {
      if (below === undefined) continue;
      const folder = path.join(point, below);
      const all = version === 1 ? controllers : namesIn(folder, 'cgroup.controllers');
      found.push({ version, controllers: all, folder });
    }
    return found;
  } catch {
    return [];
  }
}

interface Mount {
  readonly version: 1 | 2;
  readonly controllers: readonly string[];
  readonly point: string;
  /** The cgroup of the process in it; undefined when it is elsewhere. */
  readonly below: string | undefined;
}

function cgroupMounts(processId: number | 'self', some: readonly string[]): Mount[] {
  const own = new Map<string, string>();
  for (const line of readFileSync(`/proc/${processId}/cgroup`, 'utf8')
    .split('\n')
    .filter(Boolean)) {
    const [, controllers = '', ...rest] = line.split(':');
    for (const name of controllers.split(',')) own.set(name, rest.join(':'));
  }
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n').filter(Boolean);
  return lines.flatMap((line) => {
    const [left = '', right = ''] = line.split(' - ');
    const [, , , root = '', point = ''] = left.split(' ');
    const [type, , options = ''] = right.split(' ');
    if (type !== 'cgroup' && type !== 'cgroup2') return [];
    const controllers = options.split(',').filter((name) => some.includes(name));
    if (type === 'cgroup' && controllers.length === 0) return [];
    const name = own.get(type === 'cgroup2' ? '' : (controllers[0] ?? '')) ?? '/';
    const below = path.posix.relative(root, name);
    return [
      {
        version: type === 'cgroup2' ? 2 : 1,
        controllers,
        point,
        below: below.startsWith('..') ? undefined : below,
      },
    ];
  });
}

function parentOfOne({ controllers, point, below = '' }: Mount): CgroupParent {
  const own = path.join(point, below);
  accessSync(path.join(own, 'cgroup.procs'), constants.W_OK);
  accessSync(own, constants.W_OK);
  return { version: 1, controllers, folder: own, home: own };
}

/**
 * In version 2 only a cgroup without processes gives controllers to those below. When this process is
 * alone in its own, as services with Delegate=yes are, it moves one down.
 */
function parentOfTwo({ point, below = '' }: Mount): CgroupParent {
  const own = path.join(point, below);
  accessSync(path.join(own, 'cgroup.procs'), constants.W_OK);
  accessSync(own, constants.W_OK);
  const offered = namesIn(own, 'cgroup.controllers').filter((name) => wanted.includes(name));
  if (offered.length === 0) return { version: 2, controllers: [], folder: own, home: own };
  const given = namesIn(own, 'cgroup.subtree_control');
  const home = path.join(own, 'expbuild');
  const isAlone = namesIn(own, 'cgroup.procs').every((id) => Number(id) === process.pid);
  if (!isAlone) return { version: 2, controllers: [], folder: own, home: own };
  mkdirSync(home, { recursive: true });
  writeFileSync(path.join(home, 'cgroup.procs'), String(process.pid));
  const missing = offered.filter((name) => !given.includes(name));
  const enable = missing.map((name) => `+${name}`).join(' ');
  if (enable !== '') writeFileSync(path.join(own, 'cgroup.subtree_control'), enable);
  return { version: 2, controllers: offered, folder: own, home };
}

function namesIn(folder: string, name: string): string[] {
  return readFileSync(path.join(folder, name), 'utf8').split(/\s+/).filter(Boolean);
}
