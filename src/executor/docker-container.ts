import path from 'node:path';
import type Docker from 'dockerode';
import type { ImageFacts } from './docker-engine.ts';
import type { Command, Owner } from './executor.ts';
import { defaultPath } from './find-executable.ts';
import { openFilesMax, userProcessesMax } from './own-limits.ts';

/** What each container of a worker may use. */
export interface ContainerLimits {
  readonly memoryBytesMax: number | undefined;
  readonly cpusMax: number | undefined;
  readonly processesMax: number;
  /** Of each file, what is in memory included. */
  readonly fileBytesMax: number;
  /** For /tmp, /var/tmp, /dev/shm and each volume of the image; what is in them is memory. */
  readonly tmpBytesMax: number;
}

export interface ContainerRequest {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly image: ImageFacts;
  readonly user: Owner;
  /** As the daemon knows it. */
  readonly runtime: string;
  /** A network of the daemon's; "none" has nothing but a loopback interface. */
  readonly network: string;
  readonly limits: ContainerLimits;
  /** Undefined for Docker, which brings one; Podman's own lets commands make namespaces. */
  readonly podmanFilterPath?: string | undefined;
}

/** The types of dockerode lack what came with version 1.40 of the API, and what is Podman's. */
type ContainerBody = Docker.ContainerCreateOptions & {
  readonly UnsetEnvAll?: boolean;
  readonly HostConfig: Docker.HostConfig & { readonly CgroupnsMode: string };
};

/** Where the input root is, in each container: outputs that name it are the same wherever they are made. */
const inputRootInside = '/build';
/** The kernel's own default. */
const cpuPeriodUs = 100_000;
/** Sockets and locks; what is in it is memory. */
const runOptions = 'rw,nosuid,nodev,noexec,mode=1777,size=16m';

/**
 * What Docker is told to run a command: nothing of it is the action's to choose but the image, and the
 * network where the worker lets it. What the image says of users, entry points, volumes and health is
 * overruled (DK-02).
 */
export function containerOf(
  command: Command,
  inputRoot: string,
  { name, labels, image, user, runtime, network, limits, podmanFilterPath }: ContainerRequest,
): ContainerBody {
  const files = openFilesMax();
  const processes = userProcessesMax();
  const fromRoot = path.relative(inputRoot, command.workingDirectory);
  return {
    name,
    Image: image.id,
    Cmd: [...command.argv],
    Entrypoint: [],
    ...(podmanFilterPath === undefined
      ? { Env: [...variablesOf(command), ...namesToDrop(command, image)] }
      : { Env: variablesOf(command), UnsetEnvAll: true }),
    User: `${user.uid}:${user.gid}`,
    WorkingDir: path.posix.join(inputRootInside, fromRoot),
    Hostname: 'localhost',
    Labels: { ...labels },
    Tty: false,
    OpenStdin: false,
    AttachStdin: false,
    AttachStdout: true,
    AttachStderr: true,
    Healthcheck: { Test: ['NONE'] },
    NetworkDisabled: network === 'none',
    HostConfig: {
      Runtime: runtime,
      NetworkMode: network,
      CapDrop: ['ALL'],
      Privileged: false,
      SecurityOpt: [
        'no-new-privileges:true',
        ...(podmanFilterPath === undefined ? [] : [`seccomp=${podmanFilterPath}`]),
      ],
      ReadonlyRootfs: true,
      // Reaps what is orphaned, and ends with the command: then the kernel ends all the others.
      Init: true,
      // How it ended could not be asked for any more (DK-06).
      AutoRemove: false,
      RestartPolicy: { Name: 'no' },
      IpcMode: 'private',
      CgroupnsMode: 'private',
      // The output goes to the worker alone, not to the daemon's disk.
      LogConfig: { Type: 'none', Config: {} },
      OomScoreAdj: 500,
      Ulimits: [
        { Name: 'nofile', Soft: files.soft, Hard: files.hard },
        // Podman would set more, which fails where it may not; PidsLimit is what counts.
        { Name: 'nproc', Soft: processes, Hard: processes },
        { Name: 'core', Soft: 0, Hard: 0 },
        { Name: 'fsize', Soft: limits.fileBytesMax, Hard: limits.fileBytesMax },
      ],
      ...resourcesOf(limits),
      Tmpfs: tmpfsOf(image, limits),
      Mounts: [
        {
          Type: 'bind',
          Source: inputRoot,
          Target: inputRootInside,
          ReadOnly: false,
          BindOptions: { Propagation: 'rprivate' },
        },
      ],
    },
  };
}

function resourcesOf({ memoryBytesMax, cpusMax, processesMax, tmpBytesMax }: ContainerLimits) {
  return {
    PidsLimit: processesMax,
    ShmSize: tmpBytesMax,
    // With as much for both there is no swap: what is beyond the limit is killed, and slows nobody.
    ...(memoryBytesMax === undefined ? {} : { Memory: memoryBytesMax, MemorySwap: memoryBytesMax }),
    // Not NanoCpus, which may not be more than the machine has.
    ...(cpusMax === undefined
      ? {}
      : { CpuPeriod: cpuPeriodUs, CpuQuota: Math.round(cpusMax * cpuPeriodUs) }),
  };
}

/** An image's volumes would be folders on the daemon's disk without a limit. */
function tmpfsOf({ volumes }: ImageFacts, { tmpBytesMax }: ContainerLimits) {
  const tmp = `rw,nosuid,nodev,exec,mode=1777,size=${tmpBytesMax}`;
  const folders = ['/tmp', '/var/tmp', ...volumes].filter((folder) => folder !== inputRootInside);
  return Object.fromEntries([...folders.map((folder) => [folder, tmp]), ['/run', runOptions]]);
}

function variablesOf({ environment }: Command): string[] {
  return Object.entries(ownVariables(environment)).map(([name, value]) => `${name}=${value}`);
}

/**
 * A name without a value takes away from Docker what the image says (ACT-13). To Podman it would give what
 * the variable is to its service.
 */
function namesToDrop({ environment }: Command, image: ImageFacts): string[] {
  const own = new Set(Object.keys(ownVariables(environment)));
  const names = [...image.variables.map((variable) => variable.split('=')[0] ?? ''), 'HOSTNAME'];
  return names.filter((name) => name !== '' && !own.has(name));
}

function ownVariables(environment: Command['environment']) {
  return { PATH: defaultPath, TMPDIR: '/tmp', ...environment };
}
