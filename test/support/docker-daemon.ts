import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { DockerEngine } from '../../src/executor/docker-engine.ts';

/** A daemon of the test's own, with everything it keeps in a temporary folder. */
export interface DockerDaemon {
  readonly socket: string;
  readonly engine: DockerEngine;
  /** Makes an image named `busybox:test`, or another name, and returns its id. */
  busybox(name?: string, changes?: readonly string[]): string;
  /** Makes an image named `gcc:test` of this machine's compilers for C and C++, in some ten seconds. */
  compilers(): void;
  /** The names of all containers, running or not. */
  containers(): string[];
  docker(...args: readonly string[]): string;
  /** Ends the daemon and what it runs, with a signal. */
  end(signal: NodeJS.Signals): Promise<void>;
  pause(): void;
  resume(): void;
  restart(): Promise<void>;
}

/** What gVisor needs inside of a machine that is a container itself. */
const runscArgs = ['--network=none', '--platform=ptrace', '--ignore-cgroups'];
const runsc = { path: '/usr/bin/runsc', runtimeArgs: runscArgs };

/** Runs one container in a daemon of its own, with the runtime named by its argument. */
const probe = `
mkdir -p tree/bin && cp /bin/busybox tree/bin/true && tar -C tree -cf image.tar .
dockerd --config-file "$PWD/daemon.json" --data-root "$PWD/data" --exec-root "$PWD/exec" \
  --pidfile "$PWD/pid" -H "unix://$PWD/sock" --bridge=none --iptables=false --ip6tables=false \
  --log-level error &
daemon=$!
trap 'kill $daemon; wait $daemon' EXIT
export DOCKER_HOST="unix://$PWD/sock"
until docker version >/dev/null 2>&1; do kill -0 $daemon || exit 1; sleep 0.1; done
docker import image.tar probe >/dev/null && \
  docker run --rm --runtime "$1" --network none probe /bin/true
`;

const startMsMax = 60_000;

/** Why no daemon can be started here; false when it can. */
export const dockerSkip: string | false =
  whyWithout([
    ['/usr/sbin/dockerd', 'docker.io'],
    ['/usr/bin/docker-init', 'tini'],
  ]) || probed('runc');

/** What is missing of files, given with the packages they are in, that a daemon for tests needs. */
export function whyWithout(
  files: readonly (readonly [file: string, inPackage: string])[],
): string | false {
  if (process.getuid?.() !== 0) return 'needs root to start a daemon for containers';
  const all = [
    ...files,
    ['/usr/bin/docker', 'docker.io or docker-cli'],
    ['/bin/busybox', 'busybox-static'],
  ] as const;
  const missing = all.find(([file]) => !existsSync(file));
  return missing ? `needs ${missing[0]}: apt install ${missing[1]}` : false;
}

/**
 * What is found once for all files of `npm test`, in a folder that goes with it: a machine may lack rights or parts
 * of the kernel that are needed.
 */
export function whyOnce(name: string, find: () => string | false): string | false {
  const folder = process.env['FOUND_BY_TESTS'];
  if (folder === undefined) return find();
  const known = path.join(folder, name);
  if (!existsSync(known)) {
    const whole = `${known}.${process.pid}`;
    writeFileSync(whole, find() || '');
    renameSync(whole, known);
  }
  return readFileSync(known, 'utf8') || false;
}

function probed(runtime: 'runc' | 'runsc'): string | false {
  return whyOnce(runtime, () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'dk-'));
    const file = path.join(folder, 'daemon.json');
    writeFileSync(file, JSON.stringify(runtime === 'runsc' ? { runtimes: { runsc } } : {}));
    const { status, stderr } = spawnSync('sh', ['-c', probe, 'sh', runtime], {
      cwd: folder,
      env: environmentIn(folder),
      timeout: startMsMax,
    });
    for (const mount of mountsIn(folder)) spawnSync('umount', ['-l', mount]);
    rmSync(folder, { recursive: true, force: true });
    const last = stderr.toString().trim().split('\n').at(-1);
    return status === 0 ? false : `${runtime} runs no container here: ${last}`;
  });
}

/** Of a daemon, which writes what its threads do when it is slow to end. */
function environmentIn(folder: string) {
  return { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', TMPDIR: folder };
}

/** Why gVisor cannot be tested here; false when it can. */
export const gvisorSkip: string | false =
  dockerSkip ||
  (existsSync('/usr/bin/runsc') ? probed('runsc') : 'needs gVisor: apt install runsc');

/** Why a daemon that remaps users cannot be tested here; false when it can. */
export const remapSkip: string | false =
  dockerSkip || (existsSync('/etc/subuid') ? false : 'needs /etc/subuid: apt install login');

/** Whom root of containers is then, and all others in order. */
export const firstRemapped = 231_072;

/**
 * Starts a daemon, which takes half a second; `after` is called to end it. With `isRemapping`, users in
 * containers are others outside.
 */
export async function startDockerDaemon(
  t: { after(end: () => Promise<void>): void },
  { isRemapping = false } = {},
): Promise<DockerDaemon> {
  // Sockets have paths of at most 107 bytes, and containerd's is deep.
  const folder = mkdtempSync(path.join(tmpdir(), 'dk-'));
  const at = (name: string) => path.join(folder, name);
  // One of them only claims to be gVisor.
  const runtimes = {
    runsc,
    'runsc-not': { path: '/usr/sbin/runc' },
  };
  writeFileSync(at('daemon.json'), JSON.stringify({ runtimes }));
  const socket = at('docker.sock');
  const engine = new DockerEngine(socket);
  const start = () => startIn(at, socket, engine, isRemapping);
  let daemon = await start();
  const { docker, imageOf, containers } = dockerClient(socket, at);
  const end = async (signal: NodeJS.Signals) => {
    if (daemon.exitCode !== null || daemon.signalCode !== null) return;
    const exited = once(daemon, 'exit');
    daemon.kill('SIGCONT');
    daemon.kill(signal);
    await exited;
  };
  t.after(async () => {
    // What a killed daemon left running is ended by the next one's orderly end.
    if (daemon.signalCode === 'SIGKILL') daemon = await start();
    await end('SIGTERM');
    for (const mount of mountsIn(folder)) execFileSync('umount', ['-l', mount]);
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    socket,
    engine,
    docker,
    end,
    busybox: imageOf,
    compilers: () => {
      writeFileSync(at('files'), compilerFiles().join('\n'));
      execFileSync('tar', ['-C', '/', '--no-recursion', '-T', at('files'), '-cf', at('image.tar')]);
      docker('import', at('image.tar'), 'gcc:test');
    },
    containers,
    pause: () => void daemon.kill('SIGSTOP'),
    resume: () => void daemon.kill('SIGCONT'),
    restart: async () => {
      await end('SIGTERM');
      daemon = await start();
    },
  };
}

async function startIn(
  at: (name: string) => string,
  socket: string,
  engine: DockerEngine,
  isRemapping: boolean,
) {
  const args = [
    ['--config-file', at('daemon.json'), '--data-root', at('data'), '--exec-root', at('exec')],
    ['--pidfile', at('pid'), '-H', `unix://${socket}`, '--log-level', 'error'],
    // Containers without a network need none, and this machine's is left alone.
    ['--bridge=none', '--iptables=false', '--ip6tables=false'],
  ].flat();
  const env = environmentIn(at('.'));
  // Where nobody reaps what is orphaned, its number still seems to be in use.
  rmSync(at('exec/containerd/containerd.pid'), { force: true });
  const [file, ...all] = [...(isRemapping ? remapping(at) : ['/usr/sbin/dockerd']), ...args];
  const daemon = spawn(file ?? '', all, { stdio: 'ignore', env });
  const endAt = performance.now() + startMsMax;
  for (;;) {
    try {
      await engine.facts();
      return daemon;
    } catch (error) {
      if (performance.now() > endAt || daemon.exitCode !== null) throw error;
      await wait(50);
    }
  }
}

/** Gives the daemon users to map to, which it reads in files of the machine; nobody else sees that. */
function remapping(at: (name: string) => string): string[] {
  writeFileSync(at('subid'), `nobody:${firstRemapped}:65536\n`);
  // It lets remapped users through.
  chmodSync(at('.'), 0o711);
  const script = `mount --bind "$0" /etc/subuid && mount --bind "$0" /etc/subgid && exec dockerd "$@"`;
  const daemon = ['sh', '-c', script, at('subid'), '--userns-remap=nobody:nogroup'];
  return ['/usr/bin/unshare', '--mount', '--propagation', 'private', ...daemon];
}

/** Docker's own client, for a daemon that keeps its files where `at` says. */
export function dockerClient(socket: string, at: (name: string) => string) {
  const options = { env: { PATH: '/usr/bin' }, maxBuffer: 64 * 2 ** 20 } as const;
  const docker = (...args: readonly string[]) =>
    execFileSync('docker', ['-H', `unix://${socket}`, ...args], options).toString();
  return {
    docker,
    /** Makes an image of busybox, and returns its id. */
    imageOf: (name = 'busybox:test', changes: readonly string[] = []) => {
      const tar = at('image.tar');
      execFileSync('tar', ['-C', busyboxTree(at), '-cf', tar, '.']);
      return docker('import', ...changes.flatMap((change) => ['-c', change]), tar, name).trim();
    },
    containers: () => docker('ps', '-a', '--format', '{{.Names}}').split('\n').filter(Boolean),
  };
}

/** A system of one program under many names. */
function busyboxTree(at: (name: string) => string): string {
  const tree = at('tree');
  if (existsSync(tree)) return tree;
  for (const name of ['bin', 'etc', 'proc', 'tmp']) {
    mkdirSync(path.join(tree, name), { recursive: true });
  }
  // Where an image has it, its mode counts.
  chmodSync(path.join(tree, 'tmp'), 0o1777);
  execFileSync('cp', ['/bin/busybox', path.join(tree, 'bin')]);
  const names = execFileSync('/bin/busybox', ['--list']).toString().split('\n').filter(Boolean);
  for (const name of names) {
    if (name !== 'busybox') symlinkSync('busybox', path.join(tree, 'bin', name));
  }
  return tree;
}

const compilerPackages =
  /^(?:bash|dash|coreutils|findutils|grep|sed|diffutils|base-files|binutils.*|(?:gcc|g\+\+|cpp)(?:-\d+)?|lib(?:gcc|stdc\+\+)-\d+-dev|libc6|libgcc-s1|libstdc\+\+6|libc6-dev|linux-libc-dev|libcrypt-dev)$/;

/** The files of Debian's packages, and the libraries that the programs among them need. */
function compilerFiles(): string[] {
  const packages = linesOf('dpkg-query', ['-W', '-f', '${Package}\n']);
  const chosen = packages.filter((name) => compilerPackages.test(name));
  const listed = linesOf('dpkg', ['-L', ...chosen]).map(merged);
  const files = listed.filter(
    (file) => existsSync(file) && !/^\/usr\/share|sanitizer|[at]san/.test(file),
  );
  const programs = files.filter((file) => /^\/usr\/bin\/|\/cc1|collect2/.test(file));
  const libraries = programs.flatMap((file) => {
    const { stdout } = spawnSync('/usr/bin/ldd', [file]);
    return [...stdout.toString().matchAll(/(\/\S+) \(0x/g)].map(([, library = '']) =>
      merged(library),
    );
  });
  const targets = libraries.map((library) => realpathSync(library));
  const links = ['/bin', '/sbin', '/lib', '/lib64'];
  const all = [...links, ...files, ...libraries, ...targets, '/tmp', '/etc/alternatives'];
  return [...new Set(all)].map((file) => file.slice(1)).filter((file) => /./.test(file));
}

function linesOf(file: string, args: readonly string[]): string[] {
  const options = { maxBuffer: 64 * 2 ** 20, env: { PATH: '/usr/bin:/usr/sbin' } } as const;
  return execFileSync(file, args, options).toString().split('\n').filter(Boolean);
}

/** Without the links of old folders into /usr. */
function merged(file: string): string {
  return file.replace(/^\/(?=(?:bin|sbin|lib|lib64)\/)/, '/usr/');
}

/** What a killed daemon leaves mounted, the deepest first. */
export function mountsIn(folder: string): string[] {
  const lines = execFileSync('cat', ['/proc/self/mounts']).toString().split('\n');
  return lines
    .map((line) => line.split(' ')[1] ?? '')
    .filter((mount) => mount.startsWith(`${folder}/`))
    .toReversed();
}
